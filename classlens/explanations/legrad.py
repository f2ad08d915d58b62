"""How much attention to each token raises the class of interest, block by block.

LeGrad (Bousselham et al., ICCV 2025, arXiv 2404.03214): the gradient of the class's logit, read off the tokens after a
block, with respect to its attention weights A. As z = A v, d s / d A[h, i, j] = <d s / d z[h, i], v[h, j]>.
The gradient is local to a block, so backward passes go through each block alone. See docs/method.md, LeGrad.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from classlens.explanations.explainer import Explainer
from classlens.explanations.graph import images_that_fit
from classlens.inference.activations import site_spot
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.branch import class_token_logits
from classlens.inference.guard import watch
from classlens.inference.modes import at_least_float32
from classlens.inference.tokens import TokenModel

Pool = Callable[[torch.Tensor], torch.Tensor]
"""Makes one vector (n, D) of the tokens after a block (n, T, D)."""


def legrad(model: Any) -> Explainer:
    """Explain by LeGrad, the class being read off the mean of all tokens.

    Args:
        model: a supported timm model.
    """
    return _explainer(model, lambda tokens: tokens.mean(1), "the mean of all tokens")


def legrad_cls(model: Any) -> Explainer:
    """Explain by LeGrad, the class being read off [CLS].

    Args:
        model: a supported timm model with [CLS].
    """
    return _explainer(model, lambda tokens: tokens[:, 0], "[CLS]")


def _explainer(model: Any, pool: Pool, where: str) -> Explainer:
    tokens = TokenModel(model)

    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        maps: list[torch.Tensor] = []
        seen: dict[str, torch.Tensor] = {}

        def attend(_block: int, attention: Attention) -> torch.Tensor:
            # The graph begins at the heads' outputs, and `after` ends it with the block.
            seen["value"] = attention.value.detach()
            seen["heads"] = attention.output().detach().requires_grad_()
            return seen["heads"]

        def after(_block: int, residual: torch.Tensor) -> torch.Tensor:
            logit = _logits(model, pool(residual)).gather(1, classes[:, None]).sum()
            [gradient] = torch.autograd.grad(logit, seen["heads"])
            # In float32 whatever autocast does: these are differences of small numbers.
            with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
                by_weight = at_least_float32(gradient) @ at_least_float32(seen["value"]).transpose(-2, -1)
                maps.append(by_weight.relu_().mean(2) / by_weight.shape[1])
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


def _logits(model: Any, token: torch.Tensor) -> torch.Tensor:
    """Return logits (n, C) of vectors (n, D); a distilled model's are the mean of those of both heads."""
    logits = class_token_logits(model, token)
    distilled = getattr(model, "head_dist", None)
    return logits if distilled is None else (logits + distilled(model.norm(token))) / 2
