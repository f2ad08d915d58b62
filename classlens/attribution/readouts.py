"""What a model's linear heads read: rows, the tokens that are pooled for them, and what stands between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from classlens.attribution.norms import FrozenNorm
from classlens.inference.projection import Projection
from classlens.models.facts import CLS_MEAN
from classlens.models.linear import Head, LinearMap, linear_map
from classlens.models.pooling import first_pooled


@dataclass(frozen=True)
class Readout:
    """Rows of a head and the tokens whose mean they read, or what a head of an attention pool attends to."""

    weight: torch.Tensor
    """(C, D), of what the pooling puts out."""
    bias: torch.Tensor | None
    share: float
    """Of this head in the output."""
    tokens: slice
    count: int
    pooled_norm: FrozenNorm
    """After the pooling."""
    of_pool: LinearMap | None = None
    """What the head of the pool makes of a token (D, D), its part of the output; None: there is no such pool."""
    with_biases: bool = True
    """Of several that read one pooled vector, one brings the biases of what follows it."""

    def pull_back(self, w: torch.Tensor) -> torch.Tensor:
        """Return for w (n, ...) at what the head reads what it is at the normed tokens, (n, D)."""
        after = self.pooled_norm.pull_back(w)
        return after if self.of_pool is None else after @ self.of_pool.weight.to(w.dtype)


def readouts_of(model: Any) -> list[Readout]:
    """Return what a model's output is a sum of: two readouts of two heads, and one for each head of a pool.

    Raises:
        InputError: a norm cannot be frozen, or a layer is not linear.
    """
    project = Projection(model)
    if project.distilled is not None:
        none = FrozenNorm(None, "")
        heads = [_linear(head) for head in (project.head, project.distilled)]
        return [
            Readout(head.weight, head.bias, 0.5, slice(token, token + 1), 1, none) for token, head in enumerate(heads)
        ]
    pooled = FrozenNorm(getattr(model, "fc_norm", None), "the norm after the pooling")
    head = _linear(project.head)
    if model.global_pool == "token":
        return [Readout(head.weight, head.bias, 1.0, slice(0, 1), 1, pooled)]
    first, total = first_pooled(model), model.num_prefix_tokens + model.patch_embed.num_patches
    tokens, count = slice(first, total), total - first
    if model.global_pool == CLS_MEAN:
        of_class_token, of_mean = torch.split(head.weight, model.embed_dim, dim=1)
        return [
            Readout(of_class_token, None, 1.0, slice(0, 1), 1, pooled, with_biases=False),
            Readout(of_mean, head.bias, 1.0, tokens, count, pooled),
        ]
    if (pool := getattr(model, "attn_pool", None)) is not None:
        parts = _pool_heads(pool)
        return [
            Readout(head.weight, head.bias, 1.0, tokens, count, pooled, part, number == 0)
            for number, part in enumerate(parts)
        ]
    return [Readout(head.weight, head.bias, 1.0, tokens, count, pooled)]


def _linear(head: Head) -> LinearMap:
    assert head.last is not None
    return head.last


def _pool_heads(pool: Any) -> list[LinearMap]:
    """Return what each head of a pool without MLP makes of a token that it attends to, in what the pool puts out."""
    width = pool.kv.in_features
    of_value = linear_map(pool.kv, width, "kv of the attention pool")
    projection = linear_map(pool.proj, width, "proj of the attention pool")
    maps = []
    for head in range(pool.num_heads):
        rows = slice(head * pool.head_dim, (head + 1) * pool.head_dim)
        values = slice(width + rows.start, width + rows.stop)
        out = projection.weight[:, rows]
        bias = out.new_zeros(len(out)) if of_value.bias is None else out @ of_value.bias[values]
        if projection.bias is not None and head == 0:
            bias = bias + projection.bias
        maps.append(LinearMap(out @ of_value.weight[values], bias))
    return maps
