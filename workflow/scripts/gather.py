"""Put the shards of a model's images together into its layer files and output file."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.extraction.gather import gather

    gather(inputs["shards"], outputs["layers"], outputs["output"])


run(snakemake, compute)
