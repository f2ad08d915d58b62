"""Agreement of [CLS] against accuracy, panels of models and branches."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.figures.agreement_vs_accuracy import agreement_vs_accuracy

    agreement_vs_accuracy(inputs["table"], outputs["svg"], outputs["png"], **config)


run(snakemake, compute)
