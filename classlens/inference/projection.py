"""The way from a token to the classes: what the model's readout puts out for a sequence that holds the token alone."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Identity, LayerNorm

from classlens.inference.pool import Pool
from classlens.models.linear import head_of, is_plain
from classlens.models.pooling import head_width


class Projection:
    """p = W LN(x) + bias, with LN = fc_norm(norm(x)) of the model, for most models; see docs/method.md, projection.

    An attention pool stands between the two norms and gets the token alone; a head on [CLS ; mean] sees the token
    twice; a head that is not linear is run itself. A distilled model's second head serves its distillation token.

    Attributes:
        head: of all tokens but the distillation token.
        distilled: the distillation token's, which is token 1; None for most models.
        layer_norm: what stands in front of the heads, where that is a single torch.nn.LayerNorm; else None.
    """

    def __init__(self, model: Any) -> None:
        self._norm, self._fc_norm = getattr(model, "norm", None), getattr(model, "fc_norm", None)
        self._pool = Pool(model)
        distilled, width = getattr(model, "head_dist", None), head_width(model)
        self.head = head_of(model.head, width, "head")
        self.distilled = None if distilled is None else head_of(distilled, width, "head_dist")
        norms = [norm for norm in (self._norm, self._fc_norm) if norm is not None and not isinstance(norm, Identity)]
        alone = self._pool.is_identity and len(norms) == 1 and is_plain(norms[0], LayerNorm)
        self.layer_norm = norms[0] if alone else None

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Project tokens (n, T, D) onto the classes: float32 logits (n, T, C)."""
        x = self.seen(tokens)
        logits = self.head(x)
        if self.distilled is not None:
            logits[:, 1] = self.distilled(x[:, 1])
        return logits.float()

    def seen(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the heads see of tokens (n, T, D), each alone: (n, T, D) for most models."""
        if self._norm is not None:
            tokens = self._norm(tokens)
        tokens = self._pool(tokens)
        return tokens if self._fc_norm is None else self._fc_norm(tokens)

    def one(self, token: torch.Tensor) -> torch.Tensor:
        """Project one token (n, D) of each image, the first of its sequence, by `head`: logits (n, C)."""
        return self.head(self.seen(token[:, None])[:, 0])
