"""Both agreements over normalised depth, a line per model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.memory_comparison import memory_comparison

    memory_comparison(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
