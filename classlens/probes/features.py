"""Features of tokens at the sites of a group of probes; nothing outlives a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from classlens.errors import InputError
from classlens.inference.activations import capture_activations
from classlens.inference.network import LoadedModel
from classlens.probes.plan import Part


class Features:
    """Runs batches of images through the blocks of a model that a group of probes needs.

    Args:
        loaded: the model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded, self._model = loaded, loaded.model
        self._blocks = self._model.blocks
        # Apple's GPUs have no float64.
        self.device = torch.device("cpu") if loaded.device.type == "mps" else loaded.device
        """Where features come out."""
        self.width: int = self._model.embed_dim
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

        # What comes after the last block in question is not computed.
        self._model.blocks = self._blocks[: 1 + max(part.block for part in parts)]
        try:
            with capture_activations(self._model, site), self._loaded.autocast():
                self._model.forward_features(self._loaded.normalise(pixels))
        finally:
            self._model.blocks = self._blocks
        for index, part in enumerate(parts):
            if not torch.isfinite(found[index]).all():
                raise InputError(
                    f"{part.site} of block {part.block}: features are not finite; check the weights, or set "
                    "extraction.precision to float32"
                )
        return [found[index] for index in range(len(parts))]
