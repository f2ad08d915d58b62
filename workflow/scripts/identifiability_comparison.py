"""Identifiability of one model over normalised depth."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.measures.identifiability_comparison import identifiability_comparison

    identifiability_comparison(inputs["measures"], outputs["table"], **config)


run(snakemake, compute)
