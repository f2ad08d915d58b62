"""Explain images by one method, from Python.

model = timm.create_model("vit_base_patch32_224", pretrained=True)
explanation = explain(model, "cat.jpg", class_index=281, method="gradient")
explanation.heatmap()  # rows x columns
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.declared import load
from classlens.errors import InputError
from classlens.explanations.methods import METHODS, require_method
from classlens.explanations.random import random_importance
from classlens.inference.batches import frozen_eval_mode, with_oom_backoff
from classlens.inference.network import check_classes
from classlens.models.build import require_supported
from classlens.models.opening import one_output_warning, open_model
from classlens.models.pictures import Picture, as_inputs


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
    model: Any,
    image: Picture,
    class_index: int,
    method: str = "gradient",
    *,
    seed: int = 0,
    one_output: str | None = None,
) -> Explanation:
    """Explain what a model sees of a class in an image.

    Args:
        model: a vision transformer of timm that classlens supports, wrapped or not, see `classlens.Lens`; it is left as
            it was.
        image: a path, PIL image or uint8 array (H, W, 3), which goes through timm's own transform for the model, or a
            normalised tensor (3, H, W) or (1, 3, H, W).
        class_index: the class of interest, any of the model's.
        method: one of `methods.METHODS`, but `probe`.
        seed: of the method `random`.
        one_output: what a model with one output says, see `classlens.Lens`.

    Raises:
        InputError: the model is not supported, the method is unknown or does not apply to it, the class is none of the
            model's, or the image cannot be read or has the wrong shape.
    """
    opened = open_model(model, one_output)
    model = opened.model
    require_supported(model, model_name(model))
    if opened.one_output and one_output is None:
        warnings.warn(one_output_warning(), stacklevel=2)
    check_classes(np.array([class_index]), model.num_classes)
    images = as_inputs(model, image)
    if len(images) > 1:
        raise InputError(f"images are {tuple(images.shape)}, but one is explained at a time; take classlens.Lens")
    return explain_inputs(model, images, np.array([class_index]), method, seed=seed)[0]


def explain_inputs(
    model: Any, images: torch.Tensor, classes: Array, method: str, *, seed: int = 0, batch_size: int = 32
) -> list[Explanation]:
    """Explain one class of each image.

    Args:
        model: a supported timm model.
        images: (N, 3, H, W), normalised.
        classes: (N), classes of the model.
        method, seed: see `explain`.
        batch_size: images per forward pass, at most.

    Raises:
        InputError: the method is unknown or does not apply to the model.
    """
    name = model_name(model)
    require_method(
        method,
        name,
        has_class_token=model.cls_token is not None,
        class_token_pooling=model.global_pool == "token",
        several_classes=model.num_classes > 1,
    )
    grid = (int(model.patch_embed.grid_size[0]), int(model.patch_embed.grid_size[1]))
    compute = METHODS[method].compute
    if not compute:
        drawn = random_importance(seed, 0, len(images), grid[0] * grid[1])
        return [Explanation(importance, grid) for importance in drawn]
    device = next(model.parameters()).device
    explanations: list[Explanation] = []
    with frozen_eval_mode(model):
        explainer = load(compute)(model)

        def run(part: slice) -> None:
            found = explainer(images[part].to(device), torch.as_tensor(classes[part], device=device))
            arrays = {key: values.cpu().numpy() for key, values in found.items()}
            maps = arrays.get("maps", [None] * len(arrays["importance"]))
            explanations.extend(
                Explanation(importance, grid, of_image)
                for importance, of_image in zip(arrays["importance"], maps, strict=True)
            )

        with_oom_backoff(len(images), min(batch_size, explainer.images_that_fit), run)
    return explanations


def model_name(model: Any) -> str:
    """Return what a timm model is called in messages."""
    return (getattr(model, "pretrained_cfg", None) or {}).get("architecture") or type(model).__name__
