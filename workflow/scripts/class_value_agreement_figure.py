"""Class-value agreement, panels of models and branches."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.class_value_agreement import class_value_agreement

    class_value_agreement(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
