"""Integrated gradients (Sundararajan, Taly, Yan, ICML 2017, arXiv 1703.01365) of the class's logit, by captum."""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import IntegratedGradients

from classlens.explanations.explainer import Explainer, Score, class_logit
from classlens.explanations.graph import images_that_fit
from classlens.explanations.pixels import token_sums
from classlens.inference.tokens import TokenModel

STEPS = 32
"""Points between baseline and image; by Gauss-Legendre, as captum's default."""


def integrated_gradients(model: Any, score: Score = class_logit) -> Explainer:
    """Explain a score of a supported timm model by integrated gradients from the image that is zero when normalised."""
    attribution = IntegratedGradients(lambda images, classes: score(model(images), classes))

    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        # One point of all images at a time, so that a batch takes no more memory than one backward pass.
        given = {"baselines": 0, "additional_forward_args": classes, "internal_batch_size": len(images)}
        return token_sums(model, attribution.attribute(images, n_steps=STEPS, method="gausslegendre", **given))

    what = "integrated gradients of the class's logit, summed over the token's pixels"
    return Explainer(compute, what, images_that_fit=images_that_fit(TokenModel(model)))
