"""Logit increment rate of one model, per block."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.measures.logit_increment import logit_increment

    logit_increment(inputs["layers"], outputs["table"], **config)


run(snakemake, compute)
