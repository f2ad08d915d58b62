"""What [CLS] attends to at the last block."""

from __future__ import annotations

from typing import Any

import torch

from classlens.explanations.explainer import Explainer
from classlens.explanations.rows import mean_weights
from classlens.inference.tokens import TokenModel


def attention(model: Any) -> Explainer:
    """Explain a supported timm model whose head reads [CLS]; it does not matter for which class."""
    tokens = TokenModel(model)

    def compute(images: torch.Tensor, _classes: torch.Tensor) -> torch.Tensor:
        return mean_weights(tokens, images)[-1][:, 0, tokens.prefix :].float()

    return Explainer(compute, "attention of [CLS] at the last block, mean over heads")
