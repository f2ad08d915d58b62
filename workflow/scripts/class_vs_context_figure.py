"""Box plots of class and context tokens of one model, a panel per block."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.class_vs_context import class_vs_context

    class_vs_context(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
