"""Compare the memory keys of every token with the memories of classes, in one branch of one block."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.memories.agreement import block_memories

    block_memories(inputs["layer"], inputs["output"], inputs["parameters"], outputs["memories"], **config)


run(snakemake, compute)
