"""Explain images by one method, from Python.

model = timm.create_model("vit_base_patch32_224", pretrained=True)
explanation = explain(model, "cat.jpg", class_index=281, method="gradient")
explanation.heatmap()  # rows x columns
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from classlens.arrays import Array
from classlens.catalog.methods import METHODS, applicable_methods, require_method
from classlens.classes import check_classes
from classlens.declared import load
from classlens.errors import InputError
from classlens.explanations.explainer import Score
from classlens.explanations.random import random_importance
from classlens.inference.batches import collect
from classlens.inference.modes import differentiable, frozen_eval_mode
from classlens.inference.probe import behaviour, image_parameter
from classlens.models.build import require_supported
from classlens.models.crop import Crop
from classlens.models.needs import lacks
from classlens.models.opening import one_output_warning, open_model
from classlens.models.pictures import Picture, as_inputs, as_photo, photos

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Target = Callable[[torch.Tensor], torch.Tensor]
"""A number that follows from the model's output: called with (n, C), returns (n), each of its own row alone."""
SUFFIXES = (".npy", ".png")


@dataclass(frozen=True)
class Explanation:
    """Which image tokens support a class.

    Attributes:
        importance: (P).
        grid: rows and columns of image tokens.
        seen: the picture that the model saw, (H, W, 3) uint8.
        crop: which part of a photo that is, if it went through timm's transform.
        maps: (B, H, P), by block and head, whose sum importance is; None where the method has none.
        signed: importance can be evidence against the class, too; else it is never negative.
    """

    importance: Array
    grid: tuple[int, int]
    seen: Array
    crop: Crop
    maps: Array | None = None
    signed: bool = True

    def heatmap(self) -> Array:
        """Return importance where the tokens lie, (rows, columns)."""
        return self.importance.reshape(self.grid)

    def overlay(self, photo: Picture | None = None, *, whole: bool = False) -> Image.Image:
        """Return a photo in its own size with importance over it.

        Red supports the class and blue speaks against it; a map that is never negative goes from yellow to red. The
        stronger, the less of the photo shows through. What the model's transform cuts off is dimmed.

        Args:
            photo: a path, PIL image or uint8 array (H, W, 3); None: the picture that the model saw.
            whole: the model saw all of the photo, not the part that timm's transform takes.

        Raises:
            InputError: the photo cannot be read.
        """
        from classlens.explanations.overlay import overlay

        shown = as_photo(self.seen if photo is None else photo)
        box = (self.crop.whole if whole or photo is None else self.crop.box)(*shown.size)
        return overlay(shown, self.heatmap(), box, signed=self.signed)

    def plot(self, photo: Picture | None = None, title: str = "") -> Figure:
        """Draw `overlay(photo)` with the scale of its colours; returns a matplotlib figure."""
        from classlens.explanations.overlay import draw

        return draw(self.overlay(photo), signed=self.signed, title=title)

    def save(self, path: str | Path, photo: Picture | None = None) -> None:
        """Write `heatmap()`, (rows, columns) float32, to a file .npy, or `overlay(photo)` to a file .png.

        Raises:
            InputError: the path ends in neither.
        """
        place = Path(path)
        if place.suffix not in SUFFIXES:
            raise InputError(f"{place}: an explanation is saved as {' or '.join(SUFFIXES)}; end the name so")
        if place.suffix == ".npy":
            np.save(place, self.heatmap())
        else:
            self.overlay(photo).save(place)


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
    target: Target | None = None,
) -> list[Explanation]:
    """Explain one class of each image, or another number that follows from the output.

    Args:
        model: a supported timm model.
        images: (N, 3, H, W), normalised.
        classes: (N), classes of the model.
        method, seed: see `explain`.
        first: number of the first image, which decides what is drawn for it at random.
        batch_size: images per forward pass, at most.
        target: the number; None: the logit of the class.

    Raises:
        InputError: the method is unknown, does not apply to the model or explains classes only, or the target returns
            something else than a number per image.
    """
    name = model_name(model)
    require_method(method, name, lacks(model))
    if target is not None and not METHODS[method].any_score:
        others = [other for other in applicable_methods(lacks(model)) if METHODS[other].any_score]
        raise InputError(f"explanation {method!r} is of classes and takes no target; take {' or '.join(others)}")
    given = {} if target is None else {"score": _score_of(target)}
    seen = np.rint(255 * photos(model, images)).astype(np.uint8)
    grid = (int(model.patch_embed.grid_size[0]), int(model.patch_embed.grid_size[1]))
    explained = partial(Explanation, grid=grid, crop=Crop.of(model), signed=METHODS[method].signed)
    compute = METHODS[method].compute
    if not compute:
        drawn = random_importance(seed, first, first + len(images), grid[0] * grid[1])
        return [explained(importance, seen=one) for importance, one in zip(drawn, seen, strict=True)]
    with frozen_eval_mode(model), differentiable(model), _gradients(name):
        like, explainer = image_parameter(model), load(compute)(model, **given)

        def run(part: slice) -> list[Explanation]:
            found = explainer(images[part].to(like, copy=True), torch.as_tensor(classes[part], device=like.device))
            arrays = {key: values.cpu().numpy() for key, values in found.items()}
            maps = arrays.get("maps", [None] * len(arrays["importance"]))
            of_images = zip(arrays["importance"], seen[part], maps, strict=True)
            return [explained(importance, seen=one, maps=of_image) for importance, one, of_image in of_images]

        return list(chain(*collect(len(images), min(batch_size, explainer.images_that_fit), run)))


def _score_of(target: Target) -> Score:
    """Return what explainers take of a user's function.

    Raises:
        InputError: when it is called, and returns something else than a number per image that follows from the output.
    """

    def score(output: torch.Tensor, _classes: torch.Tensor) -> torch.Tensor:
        found = target(output)
        if not isinstance(found, torch.Tensor) or found.shape != output.shape[:1] or not found.is_floating_point():
            kind = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise InputError(f"target returns {kind} for outputs {tuple(output.shape)}; return floats, one per image")
        if not found.requires_grad and output.requires_grad:
            raise InputError("target does not follow from the output that it is given: no gradient passes through it")
        return found

    return score


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
