"""Explanations of one model by attention weights."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.explanations.files import attention_explanations

    return attention_explanations(inputs["pixels"], inputs["weights"], outputs, **config, **local)


run(snakemake, compute)
