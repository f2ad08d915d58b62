"""Keep the most or the least important image tokens, fewer and fewer, and see how long the model stays right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from classlens.batching import batches
from classlens.errors import InputError
from classlens.inference.network import LoadedModel
from classlens.inference.tokens import TokenModel
from classlens.measures.removal_steps import DIRECTIONS, importance_order, removal_counts
from classlens.models.inputs import to_device
from classlens.passes.base import Columns, Files, Part, Tensors
from classlens.passes.removal import Removal, compared, right_columns, right_rows, verdict


class RemoveTokens(Removal):
    """Removal of tokens; attributes `n_removed` (steps) and `image_tokens` (P).

    Args:
        counts: numbers of image tokens to keep, 1..P; None: see `removal_counts`.
    """

    doing = "removing tokens"

    def __init__(
        self, loaded: LoadedModel, files: Files, *, counts: Sequence[int] | None = None, seeds: Sequence[int] = ()
    ) -> None:
        super().__init__(loaded, files, counts=counts, seeds=seeds)
        self._removal = TokenRemoval(loaded.model)
        self._kept = _falling(counts, self._removal.tokens.patches)

    @classmethod
    def columns(cls, model: Any, *, counts: Sequence[int] | None, seeds: Sequence[int]) -> Columns:
        return right_columns(
            max(1, len(seeds)), len(_falling(counts, model.patch_embed.num_patches)), model.num_classes
        )

    def attributes(self) -> dict[str, Any]:
        patches = self._removal.tokens.patches
        removed = np.asarray([patches - count for count in self._kept], np.int32)
        return {**super().attributes(), "n_removed": removed, "image_tokens": patches}

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        orders = to_device(importance_order(self.importance(len(images), part)), images.device)
        return right_rows(self._removal(images, classes, orders, self._kept))


def _falling(counts: Sequence[int] | None, patches: int) -> list[int]:
    """Return the numbers of tokens to keep, falling, so that those of removed tokens rise."""
    kept = removal_counts(patches) if counts is None else counts
    if not kept or any(not 1 <= count <= patches for count in kept):
        raise InputError(f"removal curves: numbers of kept tokens {list(kept)}: give some of 1..{patches}")
    return sorted(set(kept), reverse=True)


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
        """Tell whether the model is right: bool (2 directions, S, n, steps), or float32 changes of a score.

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
        found = torch.stack(right, dim=-1)
        return found if found.dtype == torch.bool else compared(found, self._right(embedded, None, classes))

    def _right(self, embedded: torch.Tensor, kept: torch.Tensor | None, classes: torch.Tensor) -> torch.Tensor:
        return verdict(self.tokens.logits(self.tokens.residual(embedded, kept)), classes)
