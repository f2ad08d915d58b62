"""Paint pixels black in the order of importance, and see how long the model stays right (docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from classlens.inference.network import LoadedModel
from classlens.measures.removal_steps import PIXEL_PERCENT
from classlens.models.inputs import to_device
from classlens.passes.base import Columns, Files, Part, Tensors
from classlens.passes.removal import Removal, compared, right_columns, right_rows, verdict


class RemovePixels(Removal):
    """Removal of pixels, whose importance is that of tokens enlarged; attribute `percent_removed` (steps)."""

    doing = "removing pixels"

    def __init__(self, loaded: LoadedModel, files: Files, *, seeds: Sequence[int] = ()) -> None:
        super().__init__(loaded, files, seeds=seeds)
        black = np.zeros((1, 1, 1, loaded.normalise.stored), np.uint8)
        self._removal = PixelRemoval(loaded.model, loaded.normalise(black))

    @classmethod
    def columns(cls, model: Any, *, seeds: Sequence[int]) -> Columns:
        return right_columns(max(1, len(seeds)), len(PIXEL_PERCENT), model.num_classes)

    def attributes(self) -> dict[str, Any]:
        return {**super().attributes(), "percent_removed": np.asarray(PIXEL_PERCENT, np.int32)}

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        maps = to_device(self.importance(len(images), part), images.device)
        return right_rows(torch.stack([self._removal(images, classes, of_seed) for of_seed in maps], dim=1))


class PixelRemoval:
    """Paints pixels black in the order of importance.

    Args:
        model: a supported timm model in evaluation mode.
        black: (1, channels, 1, 1), a black pixel after normalisation.
    """

    def __init__(self, model: Any, black: torch.Tensor) -> None:
        self._model, self._black = model, black

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, classes: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
        """Tell whether the model is right: bool (2 directions, n, steps), or float32 changes of a score.

        Args:
            images: (n, channels, H, W), normalised.
            classes: (n), the correct ones.
            importance: (n, P), enlarged bilinearly to pixels; of equal pixels the first one is the more important.
        """
        height, width = images.shape[-2:]
        grid = importance.view(-1, 1, *self._model.patch_embed.grid_size)
        enlarged = interpolate(grid.float(), (height, width), mode="bilinear", align_corners=False).flatten(1)
        # How many pixels are more important than each one.
        places = enlarged.argsort(dim=1, descending=True, stable=True).argsort(dim=1).view(-1, 1, height, width)
        whole = self._right(images, classes)
        right = []
        for percent in PIXEL_PERCENT:
            count = height * width * percent // 100
            if not count:
                right.append(torch.stack([whole, whole]))
                continue
            painted = (places >= height * width - count, places < count)
            right.append(torch.stack([self._right(torch.where(one, self._black, images), classes) for one in painted]))
        return compared(torch.stack(right, dim=-1), whole)

    def _right(self, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return verdict(self._model(images), classes)
