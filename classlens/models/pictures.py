"""From pictures to what a model takes, by timm's own transform, and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from classlens.arrays import Array
from classlens.data.images import UnknownRange, open_image, upright_rgb
from classlens.errors import InputError
from classlens.models.inputs import per_channel

Picture = str | Path | Image.Image | Array | torch.Tensor
"""A file, an image, a uint8 array (H, W, 3), or a normalised tensor: (channels, H, W), or several as
(n, channels, H, W)."""
RAW = 20
"""No normalisation in use gives values from 0 to beyond this; bytes do."""


def as_inputs(model: Any, pictures: Picture | Sequence[Picture], channels: int = 3) -> torch.Tensor:
    """Return pictures as the model takes them, float32 (N, channels, H, W) on the CPU.

    Args:
        model: a supported timm model.
        pictures: one, or several in a list. Files, images and arrays (RGB) go through timm's transform for the model;
            they become grey (ITU-R 601) for a model of one channel. Tensors are taken as they are, in float64 where
            they are that, those that look like bytes with a warning.
        channels: of the model's images.

    Raises:
        InputError: there are none, a file cannot be read, a tensor or an array has the wrong shape or type, or holds
            NaN or infinity, or there is no picture of so many channels.
    """
    several = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
    if not several:
        raise InputError("there are no images; give at least one")
    return torch.cat([_one(model, picture, channels) for picture in several])


def photos(model: Any, inputs: torch.Tensor) -> Array:
    """Return what `as_inputs` returned (N, channels, H, W) as pictures (N, H, W, 3) between 0 and 1.

    Of a model whose images are neither grey nor coloured, the mean of the channels, from the lowest value to the
    highest.
    """
    channels = inputs.shape[1]
    if channels in (1, 3):
        mean, std = (torch.tensor(one).view(-1, 1, 1) for one in _normalisation(model, channels))
        shown = inputs * std + mean
    else:
        shown = inputs.mean(1, keepdim=True)
        low, high = shown.amin((1, 2, 3), keepdim=True), shown.amax((1, 2, 3), keepdim=True)
        shown = (shown - low) / (high - low).clamp(min=torch.finfo(shown.dtype).tiny)
    array: Array = shown.clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).float().numpy()
    return array


def as_photo(picture: Any) -> Image.Image:
    """Return a path, PIL image or uint8 array (H, W, 3) as an RGB image, upright.

    Raises:
        InputError: it is none of these, or cannot be read.
    """
    if isinstance(picture, str | Path):
        path = Path(picture)
        try:
            return open_image(path.read_bytes(), path)
        except OSError as error:
            raise InputError(f"image {path} cannot be read ({error.strerror}); give the path of a picture") from error
    if isinstance(picture, Image.Image):
        try:
            return upright_rgb(picture)
        except UnknownRange as error:
            raise InputError(f"a picture of mode {picture.mode} holds {error}") from None
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or not picture.size:
            raise InputError(
                f"an image array is {picture.dtype} {picture.shape}; as a picture take uint8 (H, W, 3), channels red, "
                f"green, blue (several in a list), or a PIL image; numbers that are normalised become a tensor by "
                f"torch.from_numpy"
            )
        return Image.fromarray(picture)
    raise InputError(
        f"an image is of the type {type(picture).__name__}; give a path, a PIL image, a uint8 array (H, W, 3), or "
        f"where a model looks at it a normalised tensor"
    )


def _normalisation(model: Any, channels: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel; timm's are of three, and a grey picture's are their means."""
    data = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    return per_channel(data["mean"], channels), per_channel(data["std"], channels)


def _one(model: Any, picture: Any, channels: int) -> torch.Tensor:
    size = tuple(model.patch_embed.img_size)
    shape = (channels, *size)
    if isinstance(picture, torch.Tensor):
        if picture.ndim not in (3, 4) or tuple(picture.shape[-3:]) != shape or not len(picture):
            raise InputError(
                f"an image tensor is {tuple(picture.shape)}, but the model takes {shape} or "
                f"(n, {', '.join(map(str, shape))}); resize it, or give the picture itself"
            )
        return _numbers(model, picture.detach().to("cpu"), channels).reshape(-1, *shape)
    image = as_photo(picture)
    if channels not in (1, 3):
        raise InputError(
            f"the model takes images of {channels} channels, and a picture has one (grey) or three; give normalised "
            f"tensors {shape}"
        )
    mean, std = _normalisation(model, channels)
    config = {**resolve_model_data_config(model), "input_size": shape, "mean": mean, "std": std}  # type: ignore[no-untyped-call]
    transform = create_transform(**config, is_training=False)
    return torch.as_tensor(transform(image if channels == 3 else image.convert("L")))[None]


def _numbers(model: Any, tensor: torch.Tensor, channels: int) -> torch.Tensor:
    """Return a tensor as float32, or float64 where it is that, if it can be one that was normalised."""
    mean, std = _normalisation(model, channels)
    advice = (
        f"divide bytes by 255, then normalise with mean {tuple(mean)} and std {tuple(std)}, or give pictures as PIL "
        f"images"
    )
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"an image tensor is {kind}, but the model takes normalised floats; {advice}")
    numbers = tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)
    if not bool(torch.isfinite(numbers).all()):
        raise InputError("an image tensor holds NaN or infinity; give finite numbers")
    most = max((1 - one) / spread for one, spread in zip(mean, std, strict=True))
    if float(numbers.min()) >= 0 and float(numbers.max()) > max(RAW, 2 * most):
        found = f"{float(numbers.min()):g} to {float(numbers.max()):g}"
        warnings.warn(f"an image tensor holds values from {found}, as if not normalised; {advice}", stacklevel=2)
    return numbers
