"""Attention rollout: the product over blocks of (A + I) / 2, A being the mean over heads.

Abnar, Zuidema, ACL 2020 (arXiv 2005.00928); see docs/method.md, baselines.
"""

from __future__ import annotations

from typing import Any

import torch

from classlens.explanations.explainer import Explainer
from classlens.explanations.rows import class_token_row, mean_weights
from classlens.inference.tokens import TokenModel


def rollout(model: Any) -> Explainer:
    """Explain a supported timm model whose head reads [CLS]; it does not matter for which class."""
    tokens = TokenModel(model)

    def compute(images: torch.Tensor, _classes: torch.Tensor) -> torch.Tensor:
        means = mean_weights(tokens, images)
        # The powers of two scale all tokens alike.
        row: torch.Tensor = class_token_row(means) / 2 ** len(means)
        return row[:, tokens.prefix :].float()

    return Explainer(compute, "attention rollout")
