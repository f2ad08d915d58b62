"""Features of tokens at the sites of a group of probes; nothing outlives a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from classlens.errors import InputError
from classlens.extraction.sites import reading
from classlens.models.device import autocast
from classlens.models.inputs import Normalise
from classlens.probes.plan import Part


class Features:
    """Runs batches of images through the blocks of a model that a group of probes needs.

    Args:
        model: a supported model in evaluation mode, on the device of `normalise`.
        normalise: makes inputs of stored pixels.
        precision: see `classlens.models.device.autocast`.
    """

    def __init__(self, model: Any, normalise: Normalise, precision: str) -> None:
        self._model, self._normalise, self._precision = model, normalise, precision
        self._blocks = model.blocks
        self._device = next(model.parameters()).device
        # Apple's GPUs have no float64.
        self.device = torch.device("cpu") if self._device.type == "mps" else self._device
        """Where features come out."""
        self.width: int = model.embed_dim
        """D, features per token."""

    @torch.inference_mode()
    def __call__(self, pixels: npt.NDArray[np.uint8], parts: Sequence[Part]) -> list[torch.Tensor]:
        """Return the features of every part, (tokens, n, D) float64, for pixels (n, H, W, 3).

        Raises:
            InputError: features are not finite, of which no ridge could tell anything.
        """
        found: dict[int, torch.Tensor] = {}

        def site(block: int, name: str, tokens: torch.Tensor) -> None:
            for index, part in enumerate(parts):
                if (part.site, part.block) == (name, block):
                    chosen = tokens[:, list(part.tokens)].transpose(0, 1)
                    found[index] = chosen.to(self.device, torch.float64).contiguous()

        # What comes behind the last block in question is not computed.
        self._model.blocks = self._blocks[: 1 + max(part.block for part in parts)]
        try:
            with reading(self._model, site, _ignore), autocast(self._device, self._precision):
                self._model.forward_features(self._normalise(pixels))
        finally:
            self._model.blocks = self._blocks
        for index, part in enumerate(parts):
            if not torch.isfinite(found[index]).all():
                raise InputError(
                    f"{part.site} of block {part.block}: features are not finite; check the weights, or set "
                    "extraction.precision to float32"
                )
        return [found[index] for index in range(len(parts))]


def _ignore(_block: int, _name: str, _coefficients: torch.Tensor) -> None:
    """Probes do not look at key coefficients."""
