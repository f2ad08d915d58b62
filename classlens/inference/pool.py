"""What a model's pooling makes of one token alone.

A pooling that reads a sequence with one token alone reads that token: the average is the token, the softmax of an
attention pool over one key is 1. So the model's own modules are called on sequences of one token. See docs/method.md,
projection.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from classlens.models.facts import CLS_MEAN
from classlens.models.pooling import adds_positions, first_pooled

SEQUENCES = 2**15
"""How many sequences of one token an attention pool gets at once: fused attention on CUDA takes fewer than 2**16."""


class Pool:
    """What a model's pooling makes of each token, alone.

    Args:
        model: a supported timm model.
    """

    def __init__(self, model: Any) -> None:
        self._twice = model.global_pool == CLS_MEAN
        self._positions: torch.Tensor | None = None
        self._pool: Any = getattr(model, "attn_pool", None)
        if self._pool is not None and adds_positions(model):
            self._first, self._positions = first_pooled(model), self._pool.pos_embed
            self._pool = copy.copy(self._pool)
            self._pool._parameters = {**self._pool._parameters, "pos_embed": None}
        self.is_identity: bool = self._pool is None and not self._twice

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return (n, T, F) of normed tokens (n, T, D), which have their places in the sequence."""
        if self._twice:
            return torch.cat([tokens, tokens], dim=-1)
        if self._pool is None:
            return tokens
        if self._positions is not None:
            placed = tokens[:, self._first :] + self._positions[: tokens.shape[1] - self._first].to(tokens.dtype)
            tokens = torch.cat([tokens[:, : self._first], placed], dim=1)
        alone = tokens.flatten(0, 1)[:, None]
        pooled = torch.cat([self._pool(part) for part in torch.split(alone, SEQUENCES)])
        return pooled.view(*tokens.shape[:2], -1)
