"""From stored pixels to what a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from classlens.arrays import Array


class Normalise:
    """Turn uint8 pixels (n, H, W, 3) into float32 inputs (n, 3, H, W): (x / 255 - mean) / std per channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)
        self._device = device

    def __call__(self, pixels: npt.NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
        """Normalise a batch on the device; see `to_device`."""
        images = to_device(pixels, self._device).permute(0, 3, 1, 2)
        return (images.float() / 255 - self._mean) / self._std


def channels_of(model: Any) -> int:
    """Return how many channels a model's images have: those that its first convolution takes, three without one."""
    convolutions = (one.in_channels for one in model.patch_embed.modules() if isinstance(one, torch.nn.Conv2d))
    return next(convolutions, 3)


def to_device(values: Array | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy an array to a device; to CUDA from pinned memory, which needs no waiting."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor if tensor.is_pinned() or tensor.is_cuda else tensor.pin_memory()).to(device, non_blocking=True)
