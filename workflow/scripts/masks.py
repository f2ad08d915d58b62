"""Decode the evaluation images' masks and move them like their images."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.data.geometry import Geometry
    from classlens.data.pixels import write_masks
    from classlens.data.raw import open_raw
    from classlens.data.stimulus import read_mask_digests, read_stimuli

    stimuli, digests = read_stimuli(inputs["stimuli"], "evaluation"), read_mask_digests(inputs["digests"])
    raw = open_raw(config["kind"], local["root"], local["masks"])
    write_masks(stimuli, digests, raw, Geometry(**config["geometry"]), outputs["masks"], local["threads"])


run(snakemake, compute)
