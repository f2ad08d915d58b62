"""How far memories of one model point in the direction of classes, per branch and block."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.memories.class_value import class_value_agreement

    class_value_agreement(inputs["parameters"], inputs["twin"], outputs["table"], **config)


run(snakemake, compute)
