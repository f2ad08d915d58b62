"""Train a model on its data set's training images."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from pathlib import Path

    from classlens.models.train import train

    files = (inputs["training"], inputs["evaluation"], outputs["weights"], outputs["history"])
    return train(*map(Path, files), device=local["device"], **config)


run(snakemake, compute)
