"""Identifiability of class and context tokens of one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.measures.class_vs_context import class_vs_context

    class_vs_context(inputs["layers"], inputs["labels"], outputs["table"], **config)


run(snakemake, compute)
