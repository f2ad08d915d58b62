"""Both agreements of one model on the normalised depth axis."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.memories.comparison import memory_comparison

    memories = {branch: inputs[branch] for branch in ("attn", "mlp")}
    memory_comparison(inputs["parameters"], memories, inputs["output"], outputs["table"], **config)


run(snakemake, compute)
