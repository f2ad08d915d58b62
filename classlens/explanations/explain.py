"""Explain one image by one method, from Python.

model = timm.create_model("vit_base_patch32_224", pretrained=True)
explanation = explain(model, Image.open("cat.jpg"), class_index=281, method="gradient")
explanation.heatmap()  # rows x columns
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.explanations.methods import METHODS, require_method
from classlens.explanations.random import random_importance
from classlens.inference.batches import frozen_eval_mode
from classlens.inference.network import check_classes
from classlens.models.build import require_supported


@dataclass(frozen=True)
class Explanation:
    """Which image tokens speak for a class.

    Attributes:
        importance: (P).
        grid: rows and columns of image tokens.
        maps: (B, H, P), by block and head, whose sum importance is; None where the method has none.
    """

    importance: Array
    grid: tuple[int, int]
    maps: Array | None = None

    def heatmap(self) -> Array:
        """Return importance where the tokens lie, (rows, columns)."""
        return self.importance.reshape(self.grid)


def explain(
    model: Any, image: Image.Image | torch.Tensor, class_index: int, method: str = "gradient", *, seed: int = 0
) -> Explanation:
    """Explain what a model sees of a class in an image.

    Args:
        model: a vision transformer of timm that classlens supports; it is left as it was.
        image: a picture, which goes through timm's own transform for the model, or a normalised tensor (3, H, W).
        class_index: the class of interest, any of the model's.
        method: one of `methods.METHODS`, but `probe`.
        seed: of the method `random`.

    Raises:
        InputError: the model is not supported, the method is unknown or does not apply to it, the class is none of the
            model's, or the image has the wrong size.
    """
    name = getattr(model, "pretrained_cfg", {}).get("architecture") or type(model).__name__
    require_supported(model, name)
    require_method(
        method, name, has_class_token=model.cls_token is not None, class_token_pooling=model.global_pool == "token"
    )
    check_classes(np.array([class_index]), model.num_classes)
    grid = (int(model.patch_embed.grid_size[0]), int(model.patch_embed.grid_size[1]))
    compute = METHODS[method].compute
    if not compute:
        return Explanation(random_importance(seed, 0, 1, grid[0] * grid[1])[0], grid)
    images = as_input(model, image)
    classes = torch.tensor([class_index], device=images.device)
    module, function = compute.split(":")
    with frozen_eval_mode(model):
        found = getattr(import_module(module), function)(model)(images, classes)
    arrays = {name: values[0].cpu().numpy() for name, values in found.items()}
    return Explanation(arrays["importance"], grid, arrays.get("maps"))


def as_input(model: Any, image: Image.Image | torch.Tensor) -> torch.Tensor:
    """Return an image as the model takes it, (1, 3, H, W) on the model's device.

    Args:
        model: a timm model.
        image: a picture, which is transformed, or a normalised tensor (3, H, W).

    Raises:
        InputError: a tensor has the wrong size.
    """
    size = tuple(model.patch_embed.img_size)
    if isinstance(image, Image.Image):
        data = {**resolve_model_data_config(model), "input_size": (3, *size)}  # type: ignore[no-untyped-call]
        tensor = torch.as_tensor(create_transform(**data, is_training=False)(image.convert("RGB")))
    else:
        tensor = image
    if tuple(tensor.shape) != (3, *size):
        raise InputError(f"an image tensor is {tuple(tensor.shape)}, but the model takes {(3, *size)}; resize it")
    return tensor[None].to(next(model.parameters()).device)
