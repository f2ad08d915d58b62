"""Fit and score linear probes at one site of one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.probes.fit import fit_and_score

    return fit_and_score(
        inputs["training"], inputs["evaluation"], inputs["weights"], outputs["probes"], **config, **local
    )


run(snakemake, compute)
