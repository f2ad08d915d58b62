"""Relevance that is propagated through the blocks by gradient times attention.

Chefer, Gur, Wolf, ICCV 2021 (arXiv 2103.15679), self-attention rule: R = I, then per block R += A+ R with A+ the mean
over heads of max(0, gradient of the class's output logit times attention). See docs/method.md, baselines.
"""

from __future__ import annotations

from typing import Any

import torch

from classlens.explanations.explainer import Explainer, Score, class_logit
from classlens.explanations.graph import images_that_fit
from classlens.explanations.rows import class_token_row
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.tokens import TokenModel


def chefer(model: Any, score: Score = class_logit) -> Explainer:
    """Explain a score of a supported timm model whose head reads [CLS]."""
    tokens = TokenModel(model)

    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        weights: list[torch.Tensor] = []

        def attend(_block: int, attention: Attention) -> torch.Tensor:
            of_block = attention.weights()
            if not weights:
                # Nothing before the first block's weights is of interest: the graph begins here.
                of_block = of_block.detach().requires_grad_()
            weights.append(of_block)
            return of_block.to(attention.value.dtype) @ attention.value

        with torch.no_grad():
            embedded = tokens.embed(images)
        with torch.enable_grad(), patch_attention(model, attend):
            scores = score(tokens.logits(tokens.residual(embedded)), classes).sum()
            gradients = torch.autograd.grad(scores, weights)
        with torch.no_grad():
            positive = [(a * g).clamp(min=0).mean(1) for a, g in zip(weights, gradients, strict=True)]
            return class_token_row(positive)[:, tokens.prefix :].float()

    return Explainer(
        compute,
        "relevance propagated through the blocks by gradient times attention",
        images_that_fit=images_that_fit(tokens),
    )
