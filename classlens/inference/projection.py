"""The way from a token to the classes: the norms in front of the head, then the head, token by token."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Identity, LayerNorm
from torch.nn.functional import linear

from classlens.models.linear import is_plain, linear_map


class Projection:
    """p = W LN(x) + bias, with LN = fc_norm(norm(x)) of the model; see docs/method.md, projection.

    A distilled model's second head serves its distillation token.

    Attributes:
        head: of all tokens but the distillation token.
        distilled: the distillation token's, which is token 1; None for most models.
        layer_norm: what stands in front of the heads, where that is a single torch.nn.LayerNorm; else None.

    Raises:
        InputError: a head is not linear.
    """

    def __init__(self, model: Any) -> None:
        self._norm, self._fc_norm = getattr(model, "norm", None), getattr(model, "fc_norm", None)
        distilled = getattr(model, "head_dist", None)
        self.head = linear_map(model.head, model.embed_dim, "head")
        self.distilled = None if distilled is None else linear_map(distilled, model.embed_dim, "head_dist")
        norms = [norm for norm in (self._norm, self._fc_norm) if norm is not None and not isinstance(norm, Identity)]
        self.layer_norm = norms[0] if len(norms) == 1 and is_plain(norms[0], LayerNorm) else None

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Project tokens (n, T, D) onto the classes: float32 logits (n, T, C)."""
        x = self.normed(tokens)
        logits = linear(x, self.head.weight, self.head.bias)
        if self.distilled is not None:
            logits[:, 1] = linear(x[:, 1], self.distilled.weight, self.distilled.bias)
        return logits.float()

    def normed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the heads see of tokens, (n, T, D)."""
        for norm in (self._norm, self._fc_norm):
            tokens = tokens if norm is None else norm(tokens)
        return tokens
