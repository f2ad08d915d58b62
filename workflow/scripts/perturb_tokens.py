"""What is left of a model when class or context tokens are taken out."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.perturbation.removal import perturb_tokens

    return perturb_tokens(
        inputs["pixels"], inputs["weights"], inputs["labels"], outputs["perturbed"], **config, **local
    )


run(snakemake, compute)
