"""Bring a model's weights into canonical form."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from pathlib import Path

    from classlens.models.weights import write_weights

    source, head = (Path(inputs[name][0]) if inputs[name] else None for name in ("source", "head"))
    write_weights(source, Path(outputs["weights"]), head=head, **config)


run(snakemake, compute)
