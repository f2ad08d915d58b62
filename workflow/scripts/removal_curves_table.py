"""All removal curves of one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.faithfulness.table import removal_curves_table

    curves = dict(zip(config.pop("methods"), inputs["curves"], strict=True))
    removal_curves_table(curves, inputs["areas"], outputs["table"], **config)


run(snakemake, compute)
