"""Gradient explanations: how the attention of [CLS] moves the class of interest, block by block.

At block b, p = W LN(attn[b][CLS]) + bias, and a loss of p is differentiated with respect to the attention weights of
the [CLS] row. As attn[b][CLS] depends on that row through the heads' outputs z[h] = sum_j A[h, j] v[h, j] alone,
d loss / d A[h, j] = <d loss / d z[h], v[h, j]>. So one forward pass of the network gives the maps of all blocks:
gradients are only taken of a small function of one token. After Vilas et al. 2023 (arXiv 2310.18969); see
docs/method.md, gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from classlens.errors import InputError
from classlens.explanations.explainer import Explainer, Score, class_logit
from classlens.inference.activations import capture_activations
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.branch import branch_of
from classlens.inference.modes import at_least_float32
from classlens.inference.probe import behaviour, close, made_up, once
from classlens.inference.projection import Projection
from classlens.models.facts import UNGATED
from classlens.models.needs import require

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Called as loss(logits (n, C), classes (n)); returns the sum over images, so that images do not mix in gradients."""


def gradient(model: Any) -> Explainer:
    """Explain a supported timm model with [CLS] by minus the gradient of local cross-entropies.

    Raises:
        InputError: its attention is gated, or what heads put out at [CLS] does not go on as timm has it.
    """
    return _explainer(
        model,
        lambda logits, classes: cross_entropy(logits, classes, reduction="sum"),
        "minus the gradient of local cross-entropies, summed over blocks and heads",
        "the cross-entropy",
    )


def gradient_logit(model: Any, score: Score = class_logit) -> Explainer:
    """Explain by the gradient of a score of local logits; as `gradient`."""
    return _explainer(
        model,
        lambda logits, classes: -score(logits, classes).sum(),
        "the gradient of local logits, summed over blocks and heads",
        "minus the logit",
    )


def gradient_double_softmax(model: Any) -> Explainer:
    """Explain by minus the gradient of what the published code calls cross-entropy; as `gradient`."""
    return _explainer(
        model,
        lambda logits, classes: cross_entropy(logits.softmax(-1), classes, reduction="sum"),
        "minus the gradient of local cross-entropies of softmax(softmax), summed likewise",
        "the cross-entropy of softmax(softmax)",
    )


def _explainer(model: Any, loss: Loss, importance: str, loss_name: str) -> Explainer:
    require(model, UNGATED, "an explanation by local gradients")
    once(model, _require_branches, hooks=True)
    project = Projection(model)

    @torch.no_grad()
    def compute(images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        maps: list[torch.Tensor] = []

        def attend(block: int, attention: Attention) -> torch.Tensor:
            output = attention.output()
            # In float32 whatever autocast does: these are differences of small numbers.
            with torch.autocast(images.device.type, enabled=False):
                by_head = _loss_gradient(model, project, block, at_least_float32(output[:, :, 0]), classes, loss)
                maps.append((at_least_float32(attention.value) @ -by_head[..., None])[..., 0])
            return output

        with patch_attention(model, attend):
            model.forward_features(images)
        return torch.stack(maps, dim=1)[..., model.num_prefix_tokens :].float()

    what = f"minus the gradient of {loss_name} with respect to what [CLS] attends to: block, head, token"
    return Explainer(compute, importance, what)


def _loss_gradient(
    model: Any, project: Projection, block: int, heads: torch.Tensor, classes: torch.Tensor, loss: Loss
) -> torch.Tensor:
    """Return d loss / d z (n, H, d) for the heads' outputs z at [CLS]."""
    with torch.enable_grad():
        heads = heads.detach().requires_grad_()
        logits = project.one(branch_of(model.blocks[block], heads))
        return torch.autograd.grad(loss(logits, classes), heads)[0]


def _require_branches(model: Any) -> None:
    """Check that what a branch adds at [CLS] follows from what its heads put out there."""
    heads, added = [], []

    def attend(_block: int, attention: Attention) -> torch.Tensor:
        heads.append(attention.output())
        return heads[-1]

    def site(_block: int, name: str, tokens: torch.Tensor) -> None:
        if name == "attn":
            added.append(tokens[:, 0])

    images = made_up(model, behaviour(model).channels)
    with patch_attention(model, attend), capture_activations(model, site):
        model.forward_features(images)
    for number, (of_heads, expected) in enumerate(zip(heads, added, strict=True)):
        if not close(branch_of(model.blocks[number], of_heads[:, :, 0]), expected):
            raise InputError(
                f"explanations by local gradients do not apply to this model: what the attention branch of block "
                f"{number} adds is not what norms, projection and LayerScale make of its heads; take legrad"
            )
