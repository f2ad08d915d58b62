"""From pictures to what a model takes, by timm's own transform, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from classlens.arrays import Array
from classlens.data.images import open_image, upright_rgb
from classlens.errors import InputError

Picture = str | Path | Image.Image | torch.Tensor
"""A file, an image, or a normalised tensor: (3, H, W), or several as (n, 3, H, W)."""


def as_inputs(model: Any, pictures: Picture | Sequence[Picture]) -> torch.Tensor:
    """Return pictures as the model takes them, float32 (N, 3, H, W) on the CPU.

    Args:
        model: a supported timm model.
        pictures: one, or several in a list. Files and images go through timm's transform for the model; tensors are
            taken as they are.

    Raises:
        InputError: there are none, a file cannot be read, or a tensor has the wrong shape.
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
        return picture.detach().to("cpu", torch.float32).reshape(-1, 3, *size)
    if isinstance(picture, str | Path):
        image = _read(Path(picture))
    elif isinstance(picture, Image.Image):
        image = upright_rgb(picture)
    else:
        raise InputError(
            f"an image is of the type {type(picture).__name__}; give a path, a PIL image, or a normalised tensor "
            f"{(3, *size)}"
        )
    data = {**resolve_model_data_config(model), "input_size": (3, *size)}  # type: ignore[no-untyped-call]
    return torch.as_tensor(create_transform(**data, is_training=False)(image))[None]


def _read(path: Path) -> Image.Image:
    try:
        return open_image(path.read_bytes(), path)
    except OSError as error:
        raise InputError(f"image {path} cannot be read ({error.strerror}); give the path of a picture") from error
