"""Relevance of image tokens by layer-wise relevance propagation through transformers.

`attn_lrp`: Achtibat et al., ICML 2024 (arXiv 2402.05602). `cp_lrp`, its older form: attention weights count as constant
(Ali et al., ICML 2022, arXiv 2202.07304). Both by the epsilon rule, and with the gamma rule for linear maps, see
`classlens.explanations.gamma`. See docs/method.md, attribution by relevance.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch

from classlens.attribution.norms import FrozenNorm
from classlens.explanations.explainer import Explainer, Score, class_logit
from classlens.explanations.gamma import gamma_rule, patch_relevance
from classlens.explanations.graph import images_that_fit
from classlens.explanations.relevance import relevance_rules
from classlens.inference.modes import at_least_float32
from classlens.inference.probe import once
from classlens.inference.tokens import TokenModel
from classlens.models.facts import RELEVANCE
from classlens.models.needs import RELEVANCE_NORMS, require

ATTN_LRP = {"query": 0.25, "value": 0.5}
CP_LRP = {"query": 0.0, "value": 1.0}
"""Factors of gradients inside attention, see `relevance_rules`."""
GAMMA = {"linear": 0.25, "patches": 0.25}


def attn_lrp(model: Any, score: Score = class_logit) -> Explainer:
    """Explain a score of a supported timm model by AttnLRP.

    Raises:
        InputError: some part of it has no rule, see `needs.lacks`.
    """
    return _explainer(model, score, "attn_lrp", "AttnLRP", ATTN_LRP)


def cp_lrp(model: Any, score: Score = class_logit) -> Explainer:
    """Explain by CP-LRP; as `attn_lrp`."""
    return _explainer(model, score, "cp_lrp", "CP-LRP", CP_LRP)


def attn_lrp_gamma(model: Any, score: Score = class_logit, *, gamma: Mapping[str, float] = GAMMA) -> Explainer:
    """Explain as `attn_lrp`, with the gamma rule: `linear` of linear layers, `patches` of the patch embedding.

    Raises:
        InputError: see `attn_lrp` and `gamma_rule`.
    """
    return _explainer(model, score, "attn_lrp_gamma", "AttnLRP with gamma", ATTN_LRP, gamma)


def cp_lrp_gamma(model: Any, score: Score = class_logit, *, gamma: Mapping[str, float] = GAMMA) -> Explainer:
    """Explain by CP-LRP with the gamma rule; as `attn_lrp_gamma`."""
    return _explainer(model, score, "cp_lrp_gamma", "CP-LRP with gamma", CP_LRP, gamma)


def _explainer(
    model: Any,
    score: Score,
    method: str,
    name: str,
    factors: Mapping[str, float],
    gamma: Mapping[str, float] | None = None,
) -> Explainer:
    require(model, RELEVANCE, f"explanation {method!r}")
    once(model, _require_norms, hooks=True)
    embedding = model.patch_embed.proj

    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        embedded: list[torch.Tensor] = []
        pixels: list[torch.Tensor] = []

        def begin(_module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            pixels.append(inputs[0].detach())
            embedded.append(output.detach().requires_grad_())
            return embedded[0]

        with (
            torch.enable_grad(),
            relevance_rules(model, **factors),
            gamma_rule(model, gamma["linear"]) if gamma else nullcontext(),
        ):
            handle = embedding.register_forward_hook(begin)
            try:
                scores = score(at_least_float32(model(images)), classes).sum()
            finally:
                handle.remove()
            gradients = torch.autograd.grad(scores, embedded)
        if gamma:
            made = pixels[0], embedded[0].detach(), gradients[0]
            return patch_relevance(embedding, *made, gamma["patches"]).float()
        # Patches x are embedded as W x + bias, so the sum of x times its gradient W'g over pixels is W x times g.
        linear = at_least_float32(embedded[0].detach())
        if embedding.bias is not None:
            linear = linear - embedding.bias.detach()[:, None, None]
        return (linear * gradients[0]).sum(1).flatten(1).float()

    what = f"relevance by {name}, summed over the token's pixels"
    # The gamma rule keeps about as much of linear layers as the graph itself.
    fit = images_that_fit(TokenModel(model)) // (2 if gamma else 1)
    return Explainer(compute, what, images_that_fit=max(1, fit))


def _require_norms(model: Any) -> None:
    for name, module in model.named_modules():
        if isinstance(module, RELEVANCE_NORMS):
            FrozenNorm(module, name, "relevance propagation")
