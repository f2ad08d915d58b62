"""The way from a token to the classes: the norms in front of the head, then the head, token by token."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import linear


class Projection:
    """p = W LN(x) + bias, with LN = fc_norm(norm(x)) of the model; see docs/method.md, projection.

    A distilled model's second head serves its distillation token.
    """

    def __init__(self, model: Any) -> None:
        self._norm, self._fc_norm, self._head = model.norm, getattr(model, "fc_norm", None), model.head
        self._distilled = getattr(model, "head_dist", None)

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Project tokens (n, T, D) onto the classes: float32 logits (n, T, C)."""
        x = self._norm(tokens)
        if self._fc_norm is not None:
            x = self._fc_norm(x)
        logits = linear(x, self._head.weight, self._head.bias)
        if self._distilled is not None:
            logits[:, 1] = linear(x[:, 1], self._distilled.weight, self._distilled.bias)
        return logits.float()
