"""Identifiability over normalised depth, a line per model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.identifiability_comparison import identifiability_comparison

    identifiability_comparison(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
