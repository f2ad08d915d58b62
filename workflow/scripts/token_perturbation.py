"""Identifiable tokens and accuracy of one model when tokens are taken out."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.perturbation.kinds import TOKEN_KINDS
    from classlens.perturbation.rates import token_perturbation

    perturbed = dict(zip(TOKEN_KINDS, inputs["perturbed"], strict=True))
    token_perturbation(inputs["last_layer"], inputs["output"], inputs["labels"], perturbed, outputs["table"], **config)


run(snakemake, compute)
