"""Agreement of [CLS] in images that one model gets right and wrong."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.memories.accuracy import agreement_vs_accuracy

    memories = {branch: inputs[branch] for branch in ("attn", "mlp")}
    agreement_vs_accuracy(memories, inputs["output"], outputs["table"], **config)


run(snakemake, compute)
