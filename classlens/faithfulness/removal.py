"""Keep the most or the least important image tokens, fewer and fewer, and see how long the model stays right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from classlens.batching import batches
from classlens.faithfulness.steps import DIRECTIONS
from classlens.inference.tokens import TokenModel


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
