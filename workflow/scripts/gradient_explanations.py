"""Gradient explanations of one model, all from the same forward passes."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.explanations.files import gradient_explanations

    return gradient_explanations(inputs["pixels"], inputs["weights"], outputs, **config, **local)


run(snakemake, compute)
