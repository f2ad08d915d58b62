"""Key-value agreement, panels of models and branches."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.key_value_agreement import key_value_agreement

    key_value_agreement(inputs["table"], inputs["classes"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
