"""What builds the class representation in one model's residual stream."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.measures.class_building import class_building

    class_building(inputs["layers"], outputs["table"], **config)


run(snakemake, compute)
