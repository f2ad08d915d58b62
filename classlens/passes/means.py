"""Means over images, which heads and tokens are replaced by: sums of what a model holds at each place."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from classlens.inference.network import LoadedModel
from classlens.inference.tokens import TokenModel
from classlens.passes.base import Summed, Sums, Tensors


class BatchSums(Sums):
    """The sum over images of what `of_batch` returns: sum (B, ...)."""

    def __init__(self, loaded: LoadedModel, images: int) -> None:
        self.model, self._sum = TokenModel(loaded.model), torch.zeros((), dtype=torch.float64, device=loaded.device)

    @abstractmethod
    def of_batch(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return what is summed, (n, ...) of each block, for images (n, 3, H, W)."""

    @torch.inference_mode()
    def add(self, images: torch.Tensor, start: int) -> None:
        self._sum = self._sum + torch.stack([values.double().sum(0) for values in self.of_batch(images)])
        self.count += len(images)

    def totals(self) -> Tensors:
        return {"sum": self._sum}


def mean_of(summed: Summed, loaded: LoadedModel) -> torch.Tensor:
    """Return the mean of what was summed, float32 on the model's device."""
    return torch.from_numpy((summed.totals["sum"] / summed.count).astype(np.float32)).to(loaded.device)
