"""Accuracy of one model while tokens are removed in the order of an explanation."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.faithfulness.curves import removal_curves

    explanation = inputs["explanation"][0] if inputs["explanation"] else None
    return removal_curves(
        inputs["pixels"],
        inputs["weights"],
        explanation,
        outputs["curves"],
        outputs["images_right"],
        **config,
        **local,
    )


run(snakemake, compute)
