"""Composition of memories, a panel per model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.memory_composition import memory_composition

    memory_composition(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
