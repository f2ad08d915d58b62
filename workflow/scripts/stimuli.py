"""List the images of one data set."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.data.listing import list_stimuli

    list_stimuli(config["kind"], local["root"], config["selection"], outputs["table"], local["threads"], local["masks"])


run(snakemake, compute)
