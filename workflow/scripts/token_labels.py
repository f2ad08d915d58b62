"""Tell for every image token whether it lies on the object."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.data.labels import write_token_labels
    from classlens.data.raw import listed_mask, open_raw
    from classlens.data.stimulus import read_mask_digests, read_stimuli

    stimuli, digests = read_stimuli(inputs["stimuli"], "evaluation"), read_mask_digests(inputs["digests"])
    corner = config["mode"] == "corner"
    raw = open_raw(config["kind"], local["root"], local["masks"]) if corner else None
    original = (lambda image: listed_mask(raw, stimuli[image], digests[image])) if corner else None
    grid = tuple(config["grid"])
    write_token_labels(inputs["masks"], outputs["labels"], grid=grid, rows=len(stimuli), original=original)


run(snakemake, compute)
