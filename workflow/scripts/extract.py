"""Project every token of one shard of images onto the classes, at every site of every block."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.extraction.extract import extract_shard

    return extract_shard(inputs["pixels"], inputs["weights"], outputs["shard"], **config, **local)


run(snakemake, compute)
