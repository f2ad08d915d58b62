"""Token perturbations: image tokens of the object, or of its context, are taken out (docs/method.md, perturbations)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from classlens.catalog.kinds import REMOVED_LABELS, require_token_kind
from classlens.hdf5 import Column, index_dtype
from classlens.inference.network import LoadedModel
from classlens.inference.projection import Projection
from classlens.inference.ranks import rank_tokens
from classlens.inference.tokens import TokenModel
from classlens.models.inputs import to_device
from classlens.passes.base import Columns, Part, Pass, Tensors, label_columns

REMOVED = -1
"""Rank of a token that was taken out."""


class PerturbTokens(Pass):
    """What a model makes of the tokens that are left: rank (N, T), correct (N), image_tokens_left (N)."""

    doing = "perturbing tokens"
    inputs = ("labels",)

    def __init__(self, loaded: LoadedModel, files: object, *, kind: str) -> None:
        require_token_kind(kind)
        super().__init__(loaded, kind=kind)
        self._perturbed, self._removed = TokenPerturbation(loaded.model), REMOVED_LABELS[kind]

    @classmethod
    def columns(cls, model: Any, *, kind: str) -> Columns:
        patches = model.patch_embed.num_patches
        tokens = model.num_prefix_tokens + patches
        what = f"without {kind.removeprefix('no_')} tokens"
        rank = f"number of classes with a larger logit than the correct one at the last block, {what}; -1: removed"
        counted = "image tokens that were not removed; images with none count for no rate"
        return {
            "rank": Column((tokens,), np.int32, rank, "classes"),
            "correct": Column((), np.bool_, f"the model's largest logit is the correct class's, {what}"),
            "image_tokens_left": Column((), index_dtype(patches + 1), counted),
        }

    @classmethod
    def reads(cls, model: Any) -> dict[str, Columns]:
        return {"labels": label_columns(model)}

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        left = to_device(part.rows["labels"]["label"] != self._removed, images.device)
        rank, correct = self._perturbed(images, classes, left)
        return {"rank": rank, "correct": correct, "image_tokens_left": left.sum(1)}


class TokenPerturbation:
    """A model that sees a part of each image's tokens. Images with different numbers of them share a batch.

    Args:
        model: a supported timm model in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self.tokens = TokenModel(model)
        self._project = Projection(model)

    @torch.inference_mode()
    def __call__(
        self, images: torch.Tensor, classes: torch.Tensor, left: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rank (n, T) int32, -1 where removed, and whether the model is right (n).

        A model that pools image tokens alone has no output for an image of which nothing is left: it counts as wrong.

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the correct ones.
            left: bool (n, P), the image tokens that stay.
        """
        prefix, counts = self.tokens.prefix, left.sum(1)
        rank = torch.full((len(left), prefix + left.shape[1]), REMOVED, dtype=torch.int32, device=left.device)
        correct = torch.zeros(len(left), dtype=torch.bool, device=left.device)
        seen = (counts > 0) | (not self.tokens.needs_image_tokens)
        if seen.any():
            lengths = counts[seen]
            # The tokens that stay come first, in their own order; what follows them is padding.
            order = left[seen].to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : int(lengths.max())]
            embedded = self.tokens.embed(images[seen])
            residual = self.tokens.residual(embedded, order, lengths)
            correct[seen] = self.tokens.logits(residual, lengths).argmax(-1) == classes[seen]
            found = rank_tokens(self._project, residual, classes[seen])
            of_seen = rank[seen]
            of_seen[:, :prefix] = found[:, :prefix]
            image_ranks = torch.full_like(of_seen[:, prefix:], REMOVED).scatter(1, order, found[:, prefix:])
            of_seen[:, prefix:] = image_ranks.masked_fill(~left[seen], REMOVED)
            rank[seen] = of_seen
        return rank, correct
