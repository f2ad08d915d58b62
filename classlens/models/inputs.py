"""From stored pixels to what a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from classlens.arrays import Array


class Normalise:
    """Turn uint8 pixels (n, H, W, C) into float32 inputs (n, C, H, W): (x / 255 - mean) / std per channel.

    With one mean and standard deviation inputs are grey (n, 1, H, W), of the luminance that Pillow takes of three.

    Attributes:
        stored: C of the pixels.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._mean = torch.tensor(mean, device=device).view(-1, 1, 1)
        self._std = torch.tensor(std, device=device).view(-1, 1, 1)
        self._device, self._grey = device, len(mean) == 1
        self.stored = 3 if self._grey else len(mean)

    def __call__(self, pixels: npt.NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
        """Normalise a batch on the device; see `to_device`."""
        images = to_device(pixels, self._device).permute(0, 3, 1, 2)
        if self._grey:
            red, green, blue = images.int().unbind(1)
            images = ((red * 19595 + green * 38470 + blue * 7471 + 2**15) >> 16)[:, None]
        return (images.float() / 255 - self._mean) / self._std


def channels_of(model: Any) -> int:
    """Return how many channels a model's images have: those that its first convolution takes, three without one."""
    convolutions = (one.in_channels for one in model.patch_embed.modules() if isinstance(one, torch.nn.Conv2d))
    return next(convolutions, 3)


def per_channel(values: Sequence[float], channels: int) -> list[float]:
    """Return mean or standard deviation of each channel; timm's are of three, and others' are their means."""
    found = [float(one) for one in values]
    return found if channels == len(found) else [sum(found) / len(found)] * channels


def to_device(values: Array | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy an array to a device; to CUDA from pinned memory, which needs no waiting."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor if tensor.is_pinned() or tensor.is_cuda else tensor.pin_memory()).to(device, non_blocking=True)
