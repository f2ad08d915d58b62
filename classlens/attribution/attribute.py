"""Attribute the logits of images from Python."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from classlens.arrays import Array
from classlens.attribution.decompose import Attribution, LogitAttribution
from classlens.inference.batches import collect
from classlens.inference.modes import differentiable, frozen_eval_mode
from classlens.inference.probe import image_parameter


def attribute_inputs(model: Any, images: torch.Tensor, classes: Array, *, batch_size: int = 32) -> Attribution:
    """Attribute the output logit of one class (N) of each image (N, 3, H, W), normalised; parts come in main memory.

    The supported timm model is left as it was; `batch_size` images go through it at once, at most.

    Raises:
        InputError: attribution does not apply to the model, see `LogitAttribution`.
    """
    with frozen_eval_mode(model), differentiable(model):
        like = image_parameter(model)
        attribute = LogitAttribution(model)

        def run(part: slice) -> Attribution:
            return attribute(images[part].to(like), torch.as_tensor(classes[part], device=like.device))

        found = collect(len(images), min(batch_size, attribute.images_that_fit), run)
    parts = {part.name: torch.cat([getattr(one, part.name).cpu() for one in found]) for part in fields(Attribution)}
    return Attribution(**parts)
