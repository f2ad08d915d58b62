"""What stands between the heads of a block and the residual stream."""

from __future__ import annotations

from typing import Any

import torch

from classlens.attribution.norms import FrozenNorm
from classlens.inference.branch import POST_NORM_BLOCKS
from classlens.inference.probe import attention_behaviour
from classlens.models.linear import linear_map


class Branch:
    """What stands between a block's heads and the residual stream: norm, projection, LayerScale, norm.

    Blocks have some of these at most. The first norm stands inside the attention, the last after the branch.
    """

    def __init__(self, block: Any, number: int, heads: int, head_width: int) -> None:
        attention = block.attn
        self.block, self.heads = block, heads
        self.inner = FrozenNorm(getattr(attention, "norm", None), f"the norm inside the attention of block {number}")
        self.projection = linear_map(attention.proj, heads * head_width, f"attn.proj of block {number}")
        self.layer_scale = _layer_scale(block, self.projection.weight)
        post = block.norm1 if isinstance(block, POST_NORM_BLOCKS) else None
        self.post = FrozenNorm(post, f"the norm after the attention of block {number}")

    def pull_back(self, u: torch.Tensor) -> torch.Tensor:
        """Return for u (n, D) at the residual stream what it is at the heads' outputs, (n, H, d)."""
        at_heads = self.inner.pull_back(self._after_projection(u) @ self.projection.weight.to(u.dtype))
        return at_heads.reshape(len(u), self.heads, -1)

    def constants(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the branch adds whatever the heads put out, along u (n, D).

        Returns:
            (n), in front of the post-norm, whose scale it still lacks, and after it.
        """
        after = self._after_projection(u)
        front = self.inner.bias(after @ self.projection.weight.to(u.dtype))
        if self.projection.bias is not None:
            front = front + after @ self.projection.bias.to(u.dtype)
        return front, self.post.bias(u)

    def _after_projection(self, u: torch.Tensor) -> torch.Tensor:
        pulled = self.post.pull_back(u)
        return pulled if self.layer_scale is None else pulled * self.layer_scale


def branches_of(model: Any) -> list[Branch]:
    """Return the attention branches of a model's blocks.

    Raises:
        InputError: a norm cannot be frozen, or a projection is not linear.
    """
    facts = attention_behaviour(model)
    return [
        Branch(block, number, facts.heads[number], facts.head_width[number])
        for number, block in enumerate(model.blocks)
    ]


@torch.no_grad()
def _layer_scale(block: Any, weight: torch.Tensor) -> torch.Tensor | None:
    """Return what LayerScale multiplies each channel by, (D), as the module does it; None: there is none."""
    module = getattr(block, "ls1", None)
    if module is None or isinstance(module, torch.nn.Identity):
        return getattr(block, "gamma_1", None)
    found: torch.Tensor = module(weight.new_ones(1, 1, len(weight)))[0, 0]
    return found
