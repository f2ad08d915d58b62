"""Put the paper's published values beside the reproduced ones."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.tables.published import published_comparison

    published_comparison(inputs["rates"], outputs["table"])


run(snakemake, compute)
