"""What explanations and attributions need of a model, asked of it when a run is planned and when a job runs.

Names and words of needs are in `classlens.models.facts`, which imports no torch.
"""

from __future__ import annotations

from typing import Any

from timm.layers.attention_pool import AttentionPoolLatent, AttentionPoolPrr
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.layers.norm import RmsNorm, RmsNormFp32, SimpleNorm, SimpleNormFp32
from timm.layers.patch_embed import PatchEmbed
from torch import nn

from classlens.errors import InputError
from classlens.models.facts import (
    CLASS_EMBEDDING,
    CLASS_TOKEN,
    CLASS_TOKEN_POOLING,
    CLS_MEAN,
    CONSTANTS,
    REASONS,
    RELEVANCE,
    SEVERAL_CLASSES,
    SUM_OVER_TOKENS,
    UNGATED,
)
from classlens.models.linear import head_of, is_plain
from classlens.models.one_output import HEADS
from classlens.models.parallel import TwoBranchBlock
from classlens.models.pooling import adds_positions, head_width

MLPS = (Mlp, GluMlp, SwiGLU)
RMS_NORMS = (nn.RMSNorm, RmsNorm, RmsNormFp32)
SIMPLE_NORMS = (SimpleNorm, SimpleNormFp32)
RELEVANCE_NORMS = (nn.LayerNorm, *RMS_NORMS)
"""Norms that relevance has a rule for; timm's own LayerNorms derive from torch's."""
ACTIVATIONS = (nn.GELU, nn.ReLU, nn.SiLU, nn.Tanh, nn.LeakyReLU, nn.ELU, nn.Hardswish, nn.Mish)
"""Of heads that are not linear; those of blocks have their place in the block."""
HEAD_LAYERS = (nn.Linear, nn.BatchNorm1d, nn.Dropout, nn.Identity)
"""Linear in evaluation mode."""
POOLS = {
    CLS_MEAN: "half of what this model's head reads is the mean of the image tokens",
    "map": "this model's head reads what an attention pool makes of the tokens",
    "prr": "this model's head reads what an attention pool makes of the tokens",
}
"""What models do that read something else than [CLS] or an average, by their `global_pool`."""
FROZEN_NORMS = (*RELEVANCE_NORMS, *SIMPLE_NORMS)
"""Norms that are a linear function of a token up to one number."""


def lacks(model: Any) -> dict[str, str]:
    """Return what a supported model (or one on "meta") lacks of what explanations need: reasons by need."""
    pool = POOLS.get(model.global_pool)
    other_pool = f"it reads what the [CLS] token attends to, but {pool}" if pool else REASONS[CLASS_TOKEN_POOLING]
    reasons = {
        CLASS_TOKEN: REASONS[CLASS_TOKEN] if model.cls_token is None else "",
        CLASS_TOKEN_POOLING: other_pool if model.global_pool != "token" else "",
        UNGATED: REASONS[UNGATED] if _gated(model) else "",
        SEVERAL_CLASSES: REASONS[SEVERAL_CLASSES] if model.num_classes <= 1 else "",
        CLASS_EMBEDDING: _no_embedding(model),
        RELEVANCE: _no_rule(model),
        SUM_OVER_TOKENS: _no_sum(model),
        CONSTANTS: _no_constants(model),
    }
    return {need: reason for need, reason in reasons.items() if reason}


def require(model: Any, need: str, what: str) -> None:
    """Check that a model has what something needs.

    Raises:
        InputError: it has not; the message says why.
    """
    if reason := lacks(model).get(need):
        raise InputError(f"{what} does not apply to this model: {reason}; take legrad")


def _no_embedding(model: Any) -> str:
    """Return why logits are no linear function of a normed token, so that no class has a row in its space."""
    pool = getattr(model, "attn_pool", None)
    if isinstance(pool, AttentionPoolLatent) and pool.mlp is not None:
        return "its attention pool has an MLP, so that no class has a row (class embedding) in the space of tokens"
    of_pool = [] if pool is None else [getattr(pool, name, None) for name in ("pre_norm", "post_norm")]
    if any(norm is not None and not isinstance(norm, nn.Identity) for norm in of_pool):
        return "its attention pool has norms, so that no class has a row (class embedding) in the space of tokens"
    for name in HEADS:
        head = getattr(model, name, None)
        if head is not None and head_of(head, head_width(model), name).body is not None:
            return f"its {name} ({type(head).__name__}) is not linear, so that no class has a row (class embedding)"
    return ""


def _no_constants(model: Any) -> str:
    """Return why no constant can take a head's place in weights under timm's names."""
    for number, block in enumerate(model.blocks):
        if isinstance(block, TwoBranchBlock):
            return (
                f"its block {number} is parallel, and cut in two here, so that its weights are not under timm's names"
            )
        if getattr(block.attn.proj, "bias", None) is None:
            return f"attn.proj of its block {number} has no bias, which would take what a replaced head gave"
    return ""


def _gated(model: Any) -> bool:
    return any(getattr(block.attn, "gate", None) is not None for block in model.blocks)


def _no_rule(model: Any) -> str:
    """Return for what there is no rule of relevance."""
    if _gated(model):
        return "its attention is gated: relevance has no rule for the gate, which is no module of its own"
    embedding = model.patch_embed
    if not isinstance(embedding, PatchEmbed):
        return f"its patches come from {type(embedding).__name__} and not from one linear map"
    if not is_plain(embedding.proj, nn.Conv2d):
        return f"its patches come from a {type(embedding.proj).__name__} that is no plain convolution"
    for name, module in model.named_modules():
        is_norm = "norm" in name.rpartition(".")[2] and not isinstance(module, nn.Identity)
        if is_norm and not isinstance(module, RELEVANCE_NORMS):
            return f"its {name} is a {type(module).__name__}: relevance has rules for LayerNorm and RMSNorm"
    for block in model.blocks:
        if not isinstance(block.mlp, MLPS):
            return f"its MLP is a {type(block.mlp).__name__}, of which no activation and no gate is known"
    pool = getattr(model, "attn_pool", None)
    if pool is not None and not isinstance(pool, AttentionPoolLatent | AttentionPoolPrr):
        return f"its attention pool is a {type(pool).__name__}, of which no activation is known"
    for name, module in (of for head in HEADS for of in getattr(model, head, nn.Identity()).named_modules()):
        if not list(module.children()) and not isinstance(module, (*HEAD_LAYERS, *ACTIVATIONS, *RELEVANCE_NORMS)):
            return f"{name} of its head is a {type(module).__name__}, for which relevance has no rule"
    return ""


def _no_sum(model: Any) -> str:
    """Return why the output is no sum of what branches write into it."""
    if _gated(model):
        return REASONS[UNGATED]
    if reason := _no_embedding(model):
        return reason
    linear = isinstance(getattr(model, "attn_pool", None), AttentionPoolLatent) and not adds_positions(model)
    if getattr(model, "head_dist", None) is None and not linear and model.global_pool not in ("token", "avg", CLS_MEAN):
        return f"it pools by {model.global_pool!r}, which is no sum over tokens"
    places = {"the last norm": model.norm, "the norm after the pooling": getattr(model, "fc_norm", None)}
    if model.global_pool == CLS_MEAN and not isinstance(model.fc_norm, nn.Identity):
        return "the norm after the pooling reads [CLS] and the mean together"
    for number, block in enumerate(model.blocks):
        places[f"the norm inside the attention of block {number}"] = getattr(block.attn, "norm", None)
        places[f"the first norm of block {number}"] = getattr(block, "norm1", None)
    for place, norm in places.items():
        if norm is not None and not isinstance(norm, (nn.Identity, *FROZEN_NORMS)):
            return f"{place} is {type(norm).__name__}, which is no linear function of a token up to one number"
    return ""
