"""Explain a few images of one model for two classes each."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.explanations.heatmaps import heatmaps

    return heatmaps(inputs["pixels"], inputs["weights"], inputs["output"], outputs["table"], **config, **local)


run(snakemake, compute)
