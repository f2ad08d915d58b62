"""What explanations and attributions need of a model, asked of it when a run is planned and when a job runs.

Names and words of needs are in `classlens.models.facts`, which imports no torch.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.layers.norm import RmsNorm, RmsNormFp32, SimpleNorm, SimpleNormFp32
from timm.layers.patch_embed import PatchEmbed

from classlens.errors import InputError
from classlens.models.facts import (
    CLASS_TOKEN,
    CLASS_TOKEN_POOLING,
    REASONS,
    RELEVANCE,
    SEVERAL_CLASSES,
    SUM_OVER_TOKENS,
    UNGATED,
)
from classlens.models.linear import is_plain

MLPS = (Mlp, GluMlp, SwiGLU)
RMS_NORMS = (torch.nn.RMSNorm, RmsNorm, RmsNormFp32)
SIMPLE_NORMS = (SimpleNorm, SimpleNormFp32)
RELEVANCE_NORMS = (torch.nn.LayerNorm, *RMS_NORMS)
"""Norms that relevance has a rule for; timm's own LayerNorms derive from torch's."""
FROZEN_NORMS = (*RELEVANCE_NORMS, *SIMPLE_NORMS)
"""Norms that are a linear function of a token up to one number."""


def lacks(model: Any) -> dict[str, str]:
    """Return what a supported model lacks of what explanations need: reasons by need.

    Args:
        model: its parameters may be on the device "meta".
    """
    there = {
        CLASS_TOKEN: model.cls_token is not None,
        CLASS_TOKEN_POOLING: model.global_pool == "token",
        UNGATED: not _gated(model),
        SEVERAL_CLASSES: model.num_classes > 1,
    }
    reasons = {need: "" if found else REASONS[need] for need, found in there.items()}
    reasons |= {RELEVANCE: _no_rule(model), SUM_OVER_TOKENS: _no_sum(model)}
    return {need: reason for need, reason in reasons.items() if reason}


def require(model: Any, need: str, what: str) -> None:
    """Check that a model has what something needs.

    Raises:
        InputError: it has not; the message says why.
    """
    if reason := lacks(model).get(need):
        raise InputError(f"{what} does not apply to this model: {reason}; take legrad")


def _gated(model: Any) -> bool:
    return any(getattr(block.attn, "gate", None) is not None for block in model.blocks)


def _no_rule(model: Any) -> str:
    """Return for what there is no rule of relevance."""
    if _gated(model):
        return "its attention is gated: relevance has no rule for the gate, which is no module of its own"
    embedding = model.patch_embed
    if not isinstance(embedding, PatchEmbed):
        return f"its patches come from {type(embedding).__name__} and not from one linear map"
    if not is_plain(embedding.proj, torch.nn.Conv2d):
        return f"its patches come from a {type(embedding.proj).__name__} that is no plain convolution"
    for name, module in model.named_modules():
        is_norm = "norm" in name.rpartition(".")[2] and not isinstance(module, torch.nn.Identity)
        if is_norm and not isinstance(module, RELEVANCE_NORMS):
            return f"its {name} is a {type(module).__name__}: relevance has rules for LayerNorm and RMSNorm"
    for block in model.blocks:
        if not isinstance(block.mlp, MLPS):
            return f"its MLP is a {type(block.mlp).__name__}, of which no activation and no gate is known"
    return ""


def _no_sum(model: Any) -> str:
    """Return why the output is no sum of what branches write into it."""
    if _gated(model):
        return REASONS[UNGATED]
    if getattr(model, "head_dist", None) is None and model.global_pool not in ("token", "avg"):
        return f"it pools by {model.global_pool!r}, which is no sum over tokens"
    places = {"the last norm": getattr(model, "norm", None)}
    places["the norm after the pooling"] = getattr(model, "fc_norm", None)
    for number, block in enumerate(model.blocks):
        places[f"the norm inside the attention of block {number}"] = getattr(block.attn, "norm", None)
        places[f"the first norm of block {number}"] = getattr(block, "norm1", None)
    for place, norm in places.items():
        if norm is not None and not isinstance(norm, (torch.nn.Identity, *FROZEN_NORMS)):
            return f"{place} is {type(norm).__name__}, which is no linear function of a token up to one number"
    return ""
