"""Segmentation scores of every explanation and model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.segmentation_scores import segmentation_scores

    segmentation_scores(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
