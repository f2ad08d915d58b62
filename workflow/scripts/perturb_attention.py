"""What is left of a model when image tokens may not attend to all others."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.perturbation.attention import perturb_attention

    return perturb_attention(inputs["pixels"], inputs["weights"], outputs["perturbed"], **config, **local)


run(snakemake, compute)
