"""Explain images by one method, from Python.

model = timm.create_model("vit_base_patch32_224", pretrained=True)
explanation = explain(model, "cat.jpg", class_index=281, method="gradient")
explanation.heatmap()  # rows x columns
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.catalog.methods import METHODS, require_method
from classlens.classes import check_classes
from classlens.declared import load
from classlens.errors import InputError
from classlens.explanations.random import random_importance
from classlens.inference.batches import with_oom_backoff
from classlens.inference.modes import differentiable, frozen_eval_mode
from classlens.inference.probe import behaviour, image_parameter
from classlens.models.build import require_supported
from classlens.models.needs import lacks
from classlens.models.opening import one_output_warning, open_model
from classlens.models.pictures import Picture, as_inputs


@dataclass(frozen=True)
class Explanation:
    """Which image tokens support a class.

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
    class_index: int | torch.Tensor,
    method: str = "gradient",
    *,
    seed: int = 0,
    one_output: str | None = None,
) -> Explanation:
    """Explain which image tokens support a class, by one method.

    Args:
        model: a vision transformer of timm that classlens supports, wrapped or not, see `classlens.Lens`; it is left as
            it was.
        image: a path, PIL image or uint8 array (H, W, 3), which goes through timm's own transform for the model, or a
            normalised tensor (3, H, W) or (1, 3, H, W).
        class_index: the class of interest, any of the model's.
        method: one of `classlens.catalog.methods.METHODS`, except `probe`.
        seed: for the method `random`.
        one_output: how to read a model with a single output, see `classlens.Lens`.

    Raises:
        InputError: the model is not supported, the method is unknown or does not apply to it, the class is none of the
            model's, or the image cannot be read or has the wrong shape.
    """
    opened = open_model(model, one_output)
    model = opened.model
    require_supported(model, model_name(model))
    if opened.one_output and one_output is None:
        warnings.warn(one_output_warning(), stacklevel=2)
    facts = behaviour(model)
    images = as_inputs(model, image, facts.channels)
    if len(images) > 1:
        raise InputError(f"images are {tuple(images.shape)}, but one is explained at a time; take classlens.Lens")
    labels = np.atleast_1d(class_index.detach().cpu() if isinstance(class_index, torch.Tensor) else class_index)
    if labels.dtype.kind not in "iu" or labels.shape != (1,):
        raise InputError(f"class_index is {class_index!r}; give the index of one class")
    return explain_inputs(model, images, check_classes(labels, facts.classes), method, seed=seed)[0]


def explain_inputs(
    model: Any,
    images: torch.Tensor,
    classes: Array,
    method: str,
    *,
    seed: int = 0,
    first: int = 0,
    batch_size: int = 32,
) -> list[Explanation]:
    """Explain one class of each image.

    Args:
        model: a supported timm model.
        images: (N, 3, H, W), normalised.
        classes: (N), classes of the model.
        method, seed: see `explain`.
        first: number of the first image, which decides what is drawn for it at random.
        batch_size: images per forward pass, at most.

    Raises:
        InputError: the method is unknown or does not apply to the model.
    """
    name = model_name(model)
    require_method(method, name, lacks(model))
    grid = (int(model.patch_embed.grid_size[0]), int(model.patch_embed.grid_size[1]))
    compute = METHODS[method].compute
    if not compute:
        drawn = random_importance(seed, first, first + len(images), grid[0] * grid[1])
        return [Explanation(importance, grid) for importance in drawn]
    explanations: list[Explanation] = []
    with frozen_eval_mode(model), differentiable(model), _gradients(name):
        like, explainer = image_parameter(model), load(compute)(model)

        def run(part: slice) -> None:
            target = torch.as_tensor(classes[part], device=like.device)
            found = explainer(images[part].to(like, copy=True), target)
            arrays = {key: values.cpu().numpy() for key, values in found.items()}
            maps = arrays.get("maps", [None] * len(arrays["importance"]))
            explanations.extend(
                Explanation(importance, grid, of_image)
                for importance, of_image in zip(arrays["importance"], maps, strict=True)
            )

        with_oom_backoff(len(images), min(batch_size, explainer.images_that_fit), run)
    return explanations


@contextmanager
def _gradients(name: str) -> Iterator[None]:
    """Say of a model that stops gradients that it does."""
    try:
        yield
    except RuntimeError as error:
        if "does not require grad" not in str(error) and "not have been used in the graph" not in str(error):
            raise
        raise InputError(
            f"no gradient passes through {name}, which computes a part of its output without (torch.no_grad, "
            f"inference_mode or detach in its own code); take that out, or take an explanation that needs none: random"
        ) from error


def model_name(model: Any) -> str:
    """Return what a timm model is called in messages."""
    return (getattr(model, "pretrained_cfg", None) or {}).get("architecture") or type(model).__name__
