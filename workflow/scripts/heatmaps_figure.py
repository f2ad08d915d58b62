"""Heat maps over photos, one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.heatmaps import heatmaps

    heatmaps(inputs["table"], inputs["pixels"], inputs["stimuli"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
