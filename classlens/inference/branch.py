"""From the heads' outputs at a token to what the attention branch adds to it."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.eva import EvaBlockPostNorm
from timm.models.vision_transformer import ResPostBlock
from timm.models.vision_transformer_relpos import ResPostRelPosBlock

POST_NORM_BLOCKS = (ResPostBlock, ResPostRelPosBlock, EvaBlockPostNorm)
"""Blocks whose `norm1` stands after the attention, not before it."""


def branch_of(block: Any, heads: torch.Tensor) -> torch.Tensor:
    """Return what a block's attention branch adds to one token's residual (n, D), of the heads' outputs (n, H, d)."""
    attention = block.attn
    x = heads.flatten(1)
    if getattr(attention, "norm", None) is not None:
        x = attention.norm(x)
    x = attention.proj(x)
    if isinstance(block, POST_NORM_BLOCKS):
        x = block.norm1(x)
    elif hasattr(block, "ls1"):
        x = block.ls1(x)
    elif (scale := getattr(block, "gamma_1", None)) is not None:
        x = scale * x
    return torch.as_tensor(block.drop_path1(x))
