"""Keep the most or the least important image tokens, fewer and fewer, and see how long the model stays right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from classlens.batching import batches
from classlens.perturbation.tokens import TokenModel

DIRECTIONS = ("negative", "positive")
"""Negative test: the most important tokens are kept. Positive test: the least important are."""
EVERY_COUNT_UP_TO = 64
"""Image tokens up to which every number of kept tokens is tried."""
MOST_COUNTS = 50
"""Numbers of kept tokens that are tried of models with more image tokens."""


def removal_counts(tokens: int) -> list[int]:
    """Return the numbers of image tokens to keep, rising, 1 and P among them: all, or evenly spread ones."""
    if tokens <= EVERY_COUNT_UP_TO:
        return list(range(1, tokens + 1))
    return [round(count) for count in np.linspace(1, tokens, MOST_COUNTS).tolist()]


def importance_order(importance: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the image tokens (..., P) from the most to the least important; of equals the first comes first."""
    return np.argsort(-importance, axis=-1, kind="stable")


class TokenRemoval:
    """Runs a model on parts of its image tokens. What is removed is not computed; prefix tokens always stay.

    Args:
        model: a supported timm model in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self.tokens = TokenModel(model)

    @torch.inference_mode()
    def __call__(
        self, images: torch.Tensor, classes: torch.Tensor, orders: torch.Tensor, counts: Sequence[int]
    ) -> torch.Tensor:
        """Tell whether the model is right: bool (2 directions, S, n, steps).

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the correct ones.
            orders: (S, n, P), S orders of each image's tokens, most important first.
            counts: (steps), the numbers of image tokens to keep, 1..P.
        """
        embedded = self.tokens.embed(images)
        total, patches = len(images), self.tokens.patches
        shape = (len(DIRECTIONS), len(orders), total)
        of_image = torch.arange(total, device=images.device).repeat(shape[0] * shape[1])
        right = []
        for count in counts:
            if count == patches:
                right.append(self._right(embedded, None, classes).expand(shape))
                continue
            kept = torch.stack([orders[..., :count], orders[..., patches - count :]]).flatten(0, 2)
            # The fewer tokens are left, the more images fit where the whole ones did.
            size = max(total, total * embedded.shape[1] // (self.tokens.prefix + count))
            parts = [
                self._right(embedded[of_image[part]], kept[part], classes[of_image[part]])
                for part in batches(len(kept), size)
            ]
            right.append(torch.cat(parts).view(shape))
        return torch.stack(right, dim=-1)

    def _right(self, embedded: torch.Tensor, kept: torch.Tensor | None, classes: torch.Tensor) -> torch.Tensor:
        return self.tokens.logits(self.tokens.residual(embedded, kept)).argmax(-1) == classes
