"""Box plots of identifiability per block, a panel per model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.identifiability_evolution import identifiability_evolution

    identifiability_evolution(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
