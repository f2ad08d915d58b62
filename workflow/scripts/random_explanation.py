"""Random importance, the control of every explanation."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.explanations.files import random_explanation

    random_explanation(inputs["pixels"], outputs["explanation"], **config)


run(snakemake, compute)
