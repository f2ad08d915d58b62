"""Importance of image tokens in the eyes of linear probes."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.probes.importance import probe_importance

    probe_importance(inputs["probes"], outputs["explanation"])


run(snakemake, compute)
