"""The classes that chosen memories of one model promote most."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.memories.value_vectors import value_vectors

    head = inputs["head"][0] if inputs["head"] else None
    value_vectors(inputs["parameters"], inputs["stimuli"], outputs["table"], head=head, **config)


run(snakemake, compute)
