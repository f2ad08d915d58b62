"""How well the explanations of one model find the object."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.explanations.segmentation import segmentation_table

    explanations = dict(zip(config.pop("methods"), inputs["explanations"], strict=True))
    segmentation_table(inputs["masks"], explanations, outputs["table"], **config)


run(snakemake, compute)
