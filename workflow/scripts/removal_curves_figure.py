"""Removal curves of every explanation, one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.removal_curves import removal_curves

    removal_curves(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
