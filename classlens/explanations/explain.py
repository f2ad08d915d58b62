"""Explain one image by one method, from Python.

model = timm.create_model("vit_base_patch32_224", pretrained=True)
explanation = explain(model, Image.open("cat.jpg"), class_index=281, method="gradient")
explanation.heatmap()  # rows x columns
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from classlens.errors import InputError
from classlens.explanations.chance import random_importance
from classlens.explanations.gradient import GradientExplainer
from classlens.explanations.methods import GRADIENT_METHODS, require_method
from classlens.explanations.relevance import AttentionExplainer
from classlens.models.build import require_supported
from classlens.perturbation.running import check_classes, evaluating

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """Which image tokens speak for a class.

    Attributes:
        importance: (P).
        grid: rows and columns of image tokens.
        maps: (B, H, P), by block and head; gradient methods only. Importance is their sum.
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
        method: one of `methods.METHODS`.
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
    if method == "random":
        return Explanation(random_importance(seed, 0, 1, grid[0] * grid[1])[0], grid)
    images = as_input(model, image)
    classes = torch.tensor([class_index], device=images.device)
    with evaluating(model):
        if method not in GRADIENT_METHODS:
            found = AttentionExplainer(model, [method], name)(images, classes)[method]
            return Explanation(found[0].cpu().numpy(), grid)
        maps = GradientExplainer(model, [method], name)(images, classes)[method][0, ..., model.num_prefix_tokens :]
    return Explanation(maps.sum((0, 1)).cpu().numpy(), grid, maps.cpu().numpy())


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
