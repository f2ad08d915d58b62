"""Identifiability of one model per block, beside its random twin."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.measures.identifiability_evolution import identifiability_evolution

    identifiability_evolution(inputs["measures"], inputs["twin"], outputs["table"], **config)


run(snakemake, compute)
