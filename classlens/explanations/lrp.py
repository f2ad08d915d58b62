"""Relevance of image tokens by layer-wise relevance propagation through transformers.

`attn_lrp`: Achtibat et al., ICML 2024 (arXiv 2402.05602). `cp_lrp`, its older form: attention weights count as constant
(Ali et al., ICML 2022, arXiv 2202.07304). See docs/method.md, attribution by relevance.
"""

from __future__ import annotations

from typing import Any

import torch

from classlens.attribution.norms import FrozenNorm
from classlens.explanations.explainer import Explainer
from classlens.explanations.graph import images_that_fit
from classlens.explanations.relevance import relevance_rules
from classlens.inference.modes import at_least_float32
from classlens.inference.probe import once
from classlens.inference.tokens import TokenModel
from classlens.models.facts import RELEVANCE
from classlens.models.needs import RELEVANCE_NORMS, require


def attn_lrp(model: Any) -> Explainer:
    """Explain by AttnLRP.

    Args:
        model: a supported timm model.

    Raises:
        InputError: some part of it has no rule, see `needs.lacks`.
    """
    return _explainer(model, "attn_lrp", "AttnLRP", query=0.25, value=0.5)


def cp_lrp(model: Any) -> Explainer:
    """Explain by CP-LRP; as `attn_lrp`."""
    return _explainer(model, "cp_lrp", "CP-LRP", query=0, value=1)


def _explainer(model: Any, method: str, name: str, *, query: float, value: float) -> Explainer:
    require(model, RELEVANCE, f"explanation {method!r}")
    once(model, _require_norms, hooks=True)
    embedding = model.patch_embed.proj

    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        embedded: list[torch.Tensor] = []

        def begin(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            embedded.append(output.detach().requires_grad_())
            return embedded[0]

        with torch.enable_grad(), relevance_rules(model, query=query, value=value):
            handle = embedding.register_forward_hook(begin)
            try:
                logit = at_least_float32(model(images)).gather(1, classes[:, None]).sum()
            finally:
                handle.remove()
            gradients = torch.autograd.grad(logit, embedded)
        # Patches x are embedded as W x + bias, so the sum of x times its gradient W'g over pixels is W x times g.
        linear = at_least_float32(embedded[0].detach())
        if embedding.bias is not None:
            linear = linear - embedding.bias.detach()[:, None, None]
        return (linear * gradients[0]).sum(1).flatten(1).float()

    what = f"relevance by {name}, summed over the token's pixels"
    return Explainer(compute, what, images_that_fit=images_that_fit(TokenModel(model)))


def _require_norms(model: Any) -> None:
    for name, module in model.named_modules():
        if isinstance(module, RELEVANCE_NORMS):
            FrozenNorm(module, name, "relevance propagation")
