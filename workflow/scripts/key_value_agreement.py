"""How often tokens of one model call up the memories of their class, per branch and block."""

from _adapter import run


def compute(inputs, outputs, config, local):
    from classlens.memories.key_value import key_value_agreement

    memories = {branch: inputs[branch] for branch in ("attn", "mlp")}
    key_value_agreement(memories, inputs["output"], outputs["classes"], outputs["table"], **config)


run(snakemake, compute)
