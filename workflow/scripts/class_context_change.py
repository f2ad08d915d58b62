"""Logit change of class and context tokens of one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.measures.class_context_change import class_context_change

    class_context_change(inputs["layers"], inputs["labels"], outputs["table"], **config)


run(snakemake, compute)
