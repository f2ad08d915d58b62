"""What removal of tokens and of pixels share: in which order, and whether the model stays right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.explanations.random import random_importance
from classlens.hdf5 import Column
from classlens.inference.network import LoadedModel
from classlens.measures.removal_steps import DIRECTIONS, SCORE_CHANGES
from classlens.passes.base import Columns, Files, Part, Pass


class Removal(Pass):
    """Whether a model is right about each image while it is taken apart: `negative`, `positive` (N, orders, steps).

    Of a model that puts out a score, how far it is from that of the whole image.

    Args:
        files: `explanation`, one file whose `importance` (N, P) orders the tokens; none: random orders.
        seeds: of random orders, each image having its own; must be given when there is no explanation, and only then.
    """

    has_facts = False
    inputs = ("explanation",)
    finished = ("curves", "correct_per_image")

    def __init__(self, loaded: LoadedModel, files: Files, *, seeds: Sequence[int], **settings: Any) -> None:
        super().__init__(loaded, seeds=seeds, **settings)
        if bool(files["explanation"]) == bool(seeds):
            raise InputError("removal curves: give either an explanation or the seeds of random orders")
        self._files, self._seeds = files, seeds

    @classmethod
    def reads(cls, model: Any) -> dict[str, Columns]:
        importance = Column((model.patch_embed.num_patches,), np.float32, "see `classlens.passes.explanation`")
        return {"explanation": {"importance": importance}}

    def attributes(self) -> dict[str, Any]:
        return {"random_orders": bool(self._seeds)}

    def importance(self, images: int, part: Part) -> Array:
        """Return the importances (orders, n, P) that order the tokens of n images.

        Raises:
            InputError: one is not finite.
        """
        if self._seeds:
            patches = self.loaded.model.patch_embed.num_patches
            return np.stack([random_importance(seed, part.start, part.start + images, patches) for seed in self._seeds])
        found: Array = part.rows["explanation"]["importance"].swapaxes(0, 1)
        if not np.isfinite(found).all():
            raise InputError(
                f"{self._files['explanation'][0]}: importance is not finite, so it orders no tokens; make it anew"
            )
        return found


def right_columns(orders: int, steps: int, num_classes: int) -> Columns:
    """Return the data sets, by direction, of a file with what `right_rows` gives."""
    type_, text = (np.float32, SCORE_CHANGES) if num_classes == 1 else (np.bool_, "the model is right")
    return dict.fromkeys(DIRECTIONS, Column((orders, steps), type_, f"{text}, by order and step"))


def verdict(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Tell what a model says of n images, given its logits (n, C): whether it is right, or its score."""
    return logits[:, 0].float() if logits.shape[-1] == 1 else logits.argmax(-1) == classes


def compared(verdicts: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Return verdicts (..., n, steps) as they are, or how far scores are from those of the whole images (n)."""
    return verdicts if verdicts.dtype == torch.bool else (verdicts - whole[:, None]).abs()


def right_rows(right: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return rows (n, orders, steps) by direction of bool (2 directions, orders, n, steps)."""
    return dict(zip(DIRECTIONS, right.transpose(1, 2), strict=True))
