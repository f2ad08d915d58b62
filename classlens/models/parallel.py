"""Blocks whose attention and MLP read the same normed tokens, as blocks with two branches that can be read apart.

timm's ParallelScalingBlock (Dehghani et al. 2023, arXiv 2302.05442) makes queries, keys, values and the MLP's hidden
layer by one product, and adds one sum to the residual stream. Its layers are cut in two, so that each branch is seen by
itself; what it computes stays the same up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import ParallelScalingBlock
from torch import nn

from classlens.errors import InputError
from classlens.models.one_output import as_two_classes, linear_head


class TwoBranchBlock(nn.Module):
    """Attention and MLP side by side: both read the normed tokens, and both add to the residual stream.

    Args:
        block: the block whose weights it takes.

    Raises:
        InputError: that projects both branches by one layer, or has hooks, which would see nothing.
    """

    norm1: Any
    attn: Any
    mlp: Any
    ls1: Any
    ls2: Any

    def __init__(self, block: Any) -> None:
        super().__init__()
        if block.out_proj is not None:
            raise InputError(
                "its blocks (ParallelScalingBlock) project both branches by one layer (fuse_out_proj); take a plain "
                "vision transformer"
            )
        if any(part._forward_hooks or part._forward_pre_hooks for part in block.modules()):
            raise InputError("a ParallelScalingBlock has hooks, which its branches would pass by; remove them")
        width, hidden, bias = block.in_proj.in_features, block.in_split[0], block.in_proj.bias
        self.norm1 = block.in_norm
        self.attn = Attention(width, block.num_heads, device="meta")
        self.attn.q_norm, self.attn.k_norm, self.attn.proj = block.q_norm, block.k_norm, block.attn_out_proj
        of_values = None if bias is None else bias[hidden:]
        self.attn.qkv = linear_head(block.in_proj.weight[hidden:], of_values)
        self.mlp = Mlp(width, hidden, device="meta")
        self.mlp.fc1 = linear_head(block.in_proj.weight[:hidden], block.mlp_bias if bias is None else bias[:hidden])
        self.mlp.act, self.mlp.fc2 = block.mlp_act, block.mlp_out_proj
        self.ls1 = self.ls2 = block.ls
        self.drop_path1 = nn.Identity()
        self.drop_path2 = nn.Identity()

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False) -> torch.Tensor:
        """Return tokens (n, T, D) of tokens (n, T, D)."""
        normed = self.norm1(x)
        attended = self.drop_path1(self.ls1(self.attn(normed, attn_mask=attn_mask, is_causal=is_causal)))
        added: torch.Tensor = attended + self.drop_path2(self.ls2(self.mlp(normed)))
        return x + added


def two_branches(model: Any) -> nn.Sequential | None:
    """Return a model's blocks with parallel ones as `TwoBranchBlock`, with copies of weights; None where none are.

    Raises:
        InputError: see `TwoBranchBlock`.
    """
    if not any(isinstance(block, ParallelScalingBlock) for block in model.blocks):
        return None
    parallel = [TwoBranchBlock(one) if isinstance(one, ParallelScalingBlock) else one for one in model.blocks]
    return nn.Sequential(*parallel).train(model.training)


def canonical_form(model: Any) -> Any:
    """Give a built model with linear heads the modules that canonical weights are of, in place: two classes, two
    branches per block."""
    if (blocks := two_branches(model)) is not None:
        model.blocks = blocks
    return as_two_classes(model)
