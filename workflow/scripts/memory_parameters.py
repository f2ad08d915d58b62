"""Project the memories of a model onto its classes."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.memories.parameters import write_parameters

    write_parameters(inputs["weights"], outputs["parameters"])


run(snakemake, compute)
