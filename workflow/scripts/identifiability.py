"""Identifiability of one model's tokens."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.measures.identifiability import identifiability

    identifiability(inputs["layers"], inputs["output"], outputs["measures"])


run(snakemake, compute)
