"""Bring a model's weights into canonical form."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from pathlib import Path

    from classlens.models.weights import write_weights

    source = Path(inputs["source"][0]) if inputs["source"] else None
    write_weights(source, Path(outputs["weights"]), **config)


run(snakemake, compute)
