"""Logit change of class and context tokens, all models."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.tables.significance import tested_table

    tested_table(inputs["measures"], outputs["table"], **config)


run(snakemake, compute)
