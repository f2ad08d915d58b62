"""Identifiable tokens and images of one model, and its accuracy."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.measures.identifiability_rates import identifiability_rates

    identifiability_rates(inputs["measures"], outputs["table"], **config)


run(snakemake, compute)
