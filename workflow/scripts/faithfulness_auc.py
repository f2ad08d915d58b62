"""Areas under the removal curves of one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.faithfulness.area import faithfulness_table

    files = dict(zip(config.pop("methods"), inputs["images_right"], strict=True))
    faithfulness_table(files, outputs["table"], **config)


run(snakemake, compute)
