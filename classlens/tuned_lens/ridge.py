"""Ridge maps from each block's residual to the last one's, from sums over tokens.

Every channel of a block's residual h is brought to mean 0 and standard deviation 1, z = (h - mean) / std. Then

    A = D' Z / n (Z' Z / n + penalty I)^-1,    a = mean of d

maps z to what is missing, d = h_last - h, with n tokens as rows of Z (centred) and of D (Hastie, Tibshirani, Friedman,
"The Elements of Statistical Learning", section 3.4.1). The map of the residual itself is M = A / std, m = a - M mean.
Channels of a transformer's residual differ in scale by orders of magnitude: one penalty fits only once they are alike.
Everything is float64, as for linear probes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from classlens.arrays import Array
from classlens.inference.network import LoadedModel


@dataclass(frozen=True)
class Scale:
    """What makes the channels of K blocks' residuals alike.

    Attributes:
        mean, std: (K, D) float64; std is 1 where a channel never changes.
        last: the root mean square over channels of the last residual's standard deviation.
    """

    mean: torch.Tensor
    std: torch.Tensor
    last: float

    def of_residual(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return M (K, D, D) and m (K, D) of h from A and a of z."""
        weight = weight / self.std[:, None]
        return weight, bias - (weight @ self.mean[..., None])[..., 0]


class AffineSums:
    """Sums over tokens from which ridge maps of K blocks, all but the last, follow; (2 K + 1) D^2 numbers.

    They lie on a device that has to know float64.
    """

    def __init__(self, blocks: int, width: int, device: torch.device) -> None:
        zeros = partial(torch.zeros, dtype=torch.float64, device=device)
        self._gram, self._cross = zeros(blocks, width, width), zeros(blocks, width, width)
        self._sums, self._last, self._squares = zeros(blocks, width), zeros(width), zeros(width)
        self.device = device
        """Where the sums are."""
        self.count = 0
        """Tokens so far."""

    @classmethod
    def of(cls, loaded: LoadedModel, totals: Mapping[str, Array] | None = None, count: int = 0) -> AffineSums:
        """Return the sums of a model: those that were made before, of `count` tokens, else empty ones."""
        # Apple's GPUs have no float64.
        device = torch.device("cpu") if loaded.device.type == "mps" else loaded.device
        sums = cls(len(loaded.model.blocks) - 1, loaded.model.embed_dim, device)
        for name, total in (totals or {}).items():
            sums.totals()[name] += torch.from_numpy(total).to(device)
        sums.count = count
        return sums

    def totals(self) -> dict[str, torch.Tensor]:
        """Return all sums by name: those that `add` adds to."""
        sums = {"sums": self._sums, "last": self._last, "squares": self._squares}
        return {"gram": self._gram, "cross": self._cross, **sums}

    def add(self, residuals: Sequence[torch.Tensor]) -> None:
        """Add residuals of a batch of images, K + 1 times (n, T, D); all memory is taken before the first addition."""
        *before, last = (residual.flatten(0, 1) for residual in residuals)
        target = last.to(self._last)
        tokens = torch.empty_like(target)
        for block, residual in enumerate(before):
            tokens.copy_(residual)
            self._gram[block].addmm_(tokens.mT, tokens)
            self._cross[block].addmm_(target.mT, tokens)
            self._sums[block] += tokens.sum(0)
        self._last += target.sum(0)
        self._squares += torch.linalg.vector_norm(target, dim=0).square_()
        self.count += len(target)

    def solve(self, penalty: float) -> tuple[torch.Tensor, torch.Tensor, Scale]:
        """Return A (K, D, D), a (K, D), both float64, and their scale; the penalty adds to channels' variance, 1."""
        mean, last = self._sums / self.count, self._last / self.count
        covariance = self._gram / self.count - mean[:, :, None] * mean[:, None, :]
        variance = covariance.diagonal(dim1=1, dim2=2).clamp(min=0)
        # What rounding leaves of the variance of a channel that never changes is no scale.
        rounding = torch.finfo(torch.float32).eps ** 2 * (mean.square() + variance)
        std = torch.where(variance > rounding, variance.sqrt(), 1.0)
        cross = self._cross / self.count - last[:, None] * mean[:, None, :] - covariance
        correlation = covariance / (std[:, :, None] * std[:, None, :])
        correlation.diagonal(dim1=1, dim2=2).add_(penalty)
        weight = torch.cholesky_solve((cross / std[:, None]).mT, torch.linalg.cholesky(correlation)).mT
        spread = (self._squares / self.count - last.square()).clamp(min=0).mean().sqrt().item()
        return weight, last - mean, Scale(mean, std, spread or 1.0)
