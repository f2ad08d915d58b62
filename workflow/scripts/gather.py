"""Put the shards of a model's layer files and output together."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.batching import batches
    from classlens.extraction.gather import gather

    shards = inputs["shards"]
    parts = batches(len(shards), config["shards"])
    for part, destination in zip(parts, [*outputs["layers"], outputs["output"]], strict=True):
        gather(shards[part], destination)


run(snakemake, compute)
