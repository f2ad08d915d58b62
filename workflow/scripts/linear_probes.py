"""Accuracy of linear probes beside that of the class projection, in one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.probes.accuracy import linear_probes

    linear_probes(inputs["probes"], inputs["layers"], outputs["table"], **config)


run(snakemake, compute)
