"""Decode and transform the images of one split, once for all models."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.data.geometry import Geometry
    from classlens.data.pixels import write_pixels
    from classlens.data.raw import open_raw
    from classlens.data.stimulus import read_stimuli

    stimuli = read_stimuli(inputs["stimuli"], config["split"])
    raw = open_raw(config["kind"], local["root"], local["masks"])
    write_pixels(stimuli, raw, Geometry(**config["geometry"]), outputs["pixels"], local["threads"])


run(snakemake, compute)
