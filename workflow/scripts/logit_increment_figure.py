"""Logit increment rates, a panel per model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.logit_increment import logit_increment

    logit_increment(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
