"""From pictures to what a model takes, by timm's own transform, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
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

Picture = str | Path | Image.Image | Array | torch.Tensor
"""A file, an image, a uint8 array (H, W, 3), or a normalised tensor: (3, H, W), or several as (n, 3, H, W)."""
RAW = 20
"""No normalisation in use gives values from 0 to beyond this; bytes do."""


def as_inputs(model: Any, pictures: Picture | Sequence[Picture]) -> torch.Tensor:
    """Return pictures as the model takes them, float32 (N, 3, H, W) on the CPU.

    Args:
        model: a supported timm model.
        pictures: one, or several in a list. Files, images and arrays (RGB) go through timm's transform for the model;
            tensors are taken as they are, those that look like bytes with a warning.

    Raises:
        InputError: there are none, a file cannot be read, a tensor or an array has the wrong shape or type, or holds
            NaN or infinity.
    """
    several = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
    if not several:
        raise InputError("there are no images; give at least one")
    return torch.cat([_one(model, picture) for picture in several])


def photos(model: Any, inputs: torch.Tensor) -> Array:
    """Return what `as_inputs` returned (N, 3, H, W) as pictures (N, H, W, 3) between 0 and 1."""
    data = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    mean, std = (torch.tensor(data[name]).view(3, 1, 1) for name in ("mean", "std"))
    shown: Array = (inputs * std + mean).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return shown


def _one(model: Any, picture: Any) -> torch.Tensor:
    size = tuple(model.patch_embed.img_size)
    if isinstance(picture, torch.Tensor):
        if picture.ndim not in (3, 4) or tuple(picture.shape[-3:]) != (3, *size) or not len(picture):
            raise InputError(
                f"an image tensor is {tuple(picture.shape)}, but the model takes {(3, *size)} or "
                f"(n, {', '.join(map(str, (3, *size)))}); resize it, or give the picture itself"
            )
        return _numbers(model, picture.detach().to("cpu")).reshape(-1, 3, *size)
    if isinstance(picture, str | Path):
        image = _read(Path(picture))
    elif isinstance(picture, Image.Image):
        try:
            image = upright_rgb(picture)
        except UnknownRange as error:
            raise InputError(f"a picture of mode {picture.mode} holds {error}") from None
    elif isinstance(picture, np.ndarray):
        image = Image.fromarray(_require_rgb(picture))
    else:
        raise InputError(
            f"an image is of the type {type(picture).__name__}; give a path, a PIL image, a uint8 array (H, W, 3), or "
            f"a normalised tensor {(3, *size)}"
        )
    data = {**resolve_model_data_config(model), "input_size": (3, *size)}  # type: ignore[no-untyped-call]
    return torch.as_tensor(create_transform(**data, is_training=False)(image))[None]


def _numbers(model: Any, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as float32, if it can be one that was normalised."""
    data: Mapping[str, Any] = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    advice = (
        f"divide bytes by 255, then normalise with mean {tuple(data['mean'])} and std {tuple(data['std'])}, or give "
        f"pictures as PIL images"
    )
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"an image tensor is {kind}, but the model takes normalised floats; {advice}")
    numbers = tensor.to(torch.float32)
    if not bool(torch.isfinite(numbers).all()):
        raise InputError("an image tensor holds NaN or infinity; give finite numbers")
    most = max((1 - mean) / std for mean, std in zip(data["mean"], data["std"], strict=True))
    if float(numbers.min()) >= 0 and float(numbers.max()) > max(RAW, 2 * most):
        found = f"{float(numbers.min()):g} to {float(numbers.max()):g}"
        warnings.warn(f"an image tensor holds values from {found}, as if not normalised; {advice}", stacklevel=2)
    return numbers


def _require_rgb(array: Array) -> Array:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or not array.size:
        raise InputError(
            f"an image array is {array.dtype} {array.shape}; as a picture take uint8 (H, W, 3), channels red, green, "
            f"blue (several in a list), or a PIL image; numbers that are normalised become a tensor by torch.from_numpy"
        )
    return array


def _read(path: Path) -> Image.Image:
    try:
        return open_image(path.read_bytes(), path)
    except OSError as error:
        raise InputError(f"image {path} cannot be read ({error.strerror}); give the path of a picture") from error
