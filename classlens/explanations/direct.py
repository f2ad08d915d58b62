"""Explain by what the heads write into the class's logit from each image token."""

from __future__ import annotations

from typing import Any

import torch

from classlens.attribution.decompose import LogitAttribution
from classlens.explanations.explainer import Explainer


def direct(model: Any) -> Explainer:
    """Explain a supported timm model, with or without [CLS]; see docs/method.md, direct logit attribution.

    Raises:
        InputError: see `LogitAttribution`.
    """
    attribute, prefix = LogitAttribution(model), model.num_prefix_tokens

    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return attribute(images, classes).heads[..., prefix:].float()

    return Explainer(
        compute,
        "what all heads write into the output logit from it, norms being frozen",
        "what a head writes into the output logit from a token, norms being frozen: block, head, token",
        images_that_fit=attribute.images_that_fit,
    )
