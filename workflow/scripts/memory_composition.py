"""How often a branch's class is that of a memory it calls up, in one model."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.memories.composition import memory_composition

    memories = {branch: inputs[branch] for branch in ("attn", "mlp")}
    memory_composition(memories, outputs["table"], **config)


run(snakemake, compute)
