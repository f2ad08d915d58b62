"""List the masks of one data set's evaluation images."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.data.listing import list_masks

    list_masks(config["kind"], local["root"], inputs["stimuli"], outputs["table"], local["threads"], local["masks"])


run(snakemake, compute)
