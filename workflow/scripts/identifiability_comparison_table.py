"""Identifiability over normalised depth, all models."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.tables.combine import combined_table

    combined_table(inputs["measures"], outputs["table"], **config)


run(snakemake, compute)
