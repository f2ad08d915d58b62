"""How much attention to each token raises the class of interest, block by block.

LeGrad (Bousselham et al., ICCV 2025, arXiv 2404.03214): the gradient of the class's logit, read off the tokens after a
block, with respect to its attention weights A. As z = A v, d s / d A[h, i, j] = <d s / d z[h, i], v[h, j]>.
The gradient is local to a block, so backward passes go through each block alone. See docs/method.md, LeGrad.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from classlens.explanations.explainer import Explainer, Score, class_logit, mapped_by
from classlens.explanations.graph import images_that_fit
from classlens.inference.activations import residuals, site_spot
from classlens.inference.attention import Attention, patch_attention, patch_pool
from classlens.inference.guard import watch
from classlens.inference.modes import at_least_float32
from classlens.inference.probe import readout
from classlens.inference.projection import Projection
from classlens.inference.tokens import TokenModel
from classlens.models.pooling import first_pooled

Pool = Callable[[torch.Tensor], torch.Tensor]
"""Makes one vector (n, D) of the tokens after a block (n, T, D)."""


@mapped_by(lambda model: model.attn_pool if _has_pool(model) else model.blocks[0].attn)
def legrad(model: Any, score: Score = class_logit) -> Explainer:
    """Explain by LeGrad a score of the logits after each block, of the mean of all tokens or as the pool reads them."""
    if _has_pool(model):
        return _of_pool(model, score)
    return _explainer(model, score, lambda tokens: tokens.mean(1), "the mean of all tokens")


def legrad_cls(model: Any, score: Score = class_logit) -> Explainer:
    """Explain as `legrad`, the class being read off [CLS], which the model has to have."""
    return _explainer(model, score, lambda tokens: tokens[:, 0], "[CLS]")


def _has_pool(model: Any) -> bool:
    return getattr(model, "attn_pool", None) is not None


def _of_pool(model: Any, score: Score) -> Explainer:
    """Explain by LeGrad's way for attention pools: after each block the pool reads the tokens by its own attention."""
    tokens, unread = TokenModel(model), model.num_prefix_tokens - first_pooled(model)

    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        maps: list[torch.Tensor] = []
        seen: dict[str, torch.Tensor] = {}

        def attend(attention: Attention) -> torch.Tensor:
            seen["value"] = attention.value.detach()
            seen["heads"] = attention.output().detach().requires_grad_()
            return seen["heads"]

        with torch.no_grad():
            of_blocks = residuals(model, images)
        for residual in of_blocks:
            with torch.enable_grad(), patch_pool(model, attend):
                scores = score(readout(model, residual.detach()), classes).sum()
            [gradient] = torch.autograd.grad(scores, seen["heads"])
            maps.append(_positive_part(gradient, seen["value"]))
        return torch.stack(maps, dim=1)[..., unread:].float()

    return Explainer(
        compute,
        "the positive part of the gradient of local logits, mean over heads, summed over blocks",
        "the positive part of the gradient of local logits with respect to what the attention pool attends to after a "
        "block, divided by the number of its heads: block, head of the pool, token",
        images_that_fit(tokens),
    )


def _positive_part(gradient: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return maps (n, H, T) of the gradient at the heads' outputs (n, H, rows, d) and their values (n, H, T, d)."""
    # In float32 whatever autocast does: these are differences of small numbers.
    with torch.no_grad(), torch.autocast(value.device.type, enabled=False):
        by_weight = at_least_float32(gradient) @ at_least_float32(value).transpose(-2, -1)
        return by_weight.relu_().mean(2) / by_weight.shape[1]


def _explainer(model: Any, score: Score, pool: Pool, where: str) -> Explainer:
    tokens, project = TokenModel(model), Projection(model)

    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        maps: list[torch.Tensor] = []
        seen: dict[str, torch.Tensor] = {}

        def attend(_block: int, attention: Attention) -> torch.Tensor:
            # The graph begins at the heads' outputs, and `after` ends it with the block.
            seen["value"] = attention.value.detach()
            seen["heads"] = attention.output().detach().requires_grad_()
            return seen["heads"]

        def after(_block: int, residual: torch.Tensor) -> torch.Tensor:
            scores = score(_logits(model, project, pool(residual)), classes).sum()
            [gradient] = torch.autograd.grad(scores, seen["heads"])
            maps.append(_positive_part(gradient, seen["value"]))
            return residual.detach()

        with torch.no_grad():
            embedded = tokens.embed(images)
        with torch.enable_grad(), watch(model, site_spot("residual", after)), patch_attention(model, attend):
            tokens.residual(embedded)
        return torch.stack(maps, dim=1)[..., tokens.prefix :].float()

    return Explainer(
        compute,
        f"the positive part of the gradient of local logits at {where}, mean over heads and tokens, summed over blocks",
        f"the positive part of the gradient of local logits at {where} with respect to what tokens attend to, mean "
        f"over tokens, divided by the number of heads: block, head, token",
        images_that_fit(tokens),
    )


def _logits(model: Any, project: Projection, token: torch.Tensor) -> torch.Tensor:
    """Return logits (n, C) of vectors (n, D); a distilled model's are the mean of those of both heads."""
    logits = project.one(token)
    distilled = getattr(model, "head_dist", None)
    return logits if distilled is None else (logits + distilled(model.norm(token))) / 2
