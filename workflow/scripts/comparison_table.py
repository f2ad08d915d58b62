"""Put the measures of all models into one table; p-values are corrected together."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.tables.combine import combined_table
    from classlens.tables.significance import tested_table

    make = tested_table if "correction" in config else combined_table
    make(inputs["measures"], outputs["table"], **config)


run(snakemake, compute)
