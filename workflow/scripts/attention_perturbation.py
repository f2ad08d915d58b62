"""Identifiable tokens and accuracy of one model under attention perturbations."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.perturbation.rates import attention_perturbation

    perturbed = dict(zip(config.pop("kinds"), inputs["perturbed"], strict=True))
    attention_perturbation(inputs["last_layer"], inputs["output"], perturbed, outputs["table"], **config)


run(snakemake, compute)
