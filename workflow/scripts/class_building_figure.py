"""Class similarity change rates and residual composition of one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.class_building import class_building

    class_building(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
