"""Linear probes beside the class projection, one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.linear_probes import linear_probes

    linear_probes(inputs["table"], inputs["removal"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
