"""Gradient explanations: how the attention of [CLS] moves the class of interest, block by block (SPEC section 4).

At block b, p = W LN(attn[b][CLS]) + bias, and a loss of p is derived with respect to the attention weights of the [CLS]
row. As attn[b][CLS] depends on that row through the heads' outputs z[h] = sum_j A[h, j] v[h, j] alone,
d loss / d A[h, j] = <d loss / d z[h], v[h, j]>. So one forward pass of the network gives the maps of all blocks:
derivatives are only taken of a small function of one token. After Vilas et al. 2023 (arXiv 2310.18969).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from classlens.errors import InputError
from classlens.explanations.branch import branch_of, class_token_logits
from classlens.explanations.methods import ATTENTION_METHODS, GRADIENT_METHODS, require_method
from classlens.perturbation.interception import Attention, attending

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Called as loss(logits (n, C), classes (n)); returns the sum over images, so that images do not mix in gradients."""


def _cross_entropy(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits, classes, reduction="sum")


def _minus_logit(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return -logits.gather(1, classes[:, None]).sum()


def _double_softmax(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits.softmax(-1), classes, reduction="sum")


LOSSES: dict[str, Loss] = dict(zip(GRADIENT_METHODS, (_cross_entropy, _minus_logit, _double_softmax), strict=True))


class GradientExplainer:
    """Explains by gradients of local losses.

    Args:
        model: a supported timm model in evaluation mode (`perturbation.running.evaluating`).
        methods: some of `GRADIENT_METHODS`; they share the forward pass.
        name: the model's, for messages.

    Raises:
        InputError: a method is no gradient method, or does not apply to the model.
    """

    def __init__(self, model: Any, methods: Sequence[str] = GRADIENT_METHODS, name: str = "the model") -> None:
        for method in methods:
            pooling = model.global_pool == "token"
            require_method(method, name, has_class_token=model.cls_token is not None, class_token_pooling=pooling)
        if any(getattr(block.attn, "gate", None) is not None for block in model.blocks):
            raise InputError(
                f"explanations {', '.join(methods)} do not apply to {name}: its attention is gated, so the heads' "
                f"outputs alone do not determine what the branch adds; take {' or '.join(ATTENTION_METHODS)}"
            )
        self._model, self._losses = model, {method: LOSSES[method] for method in methods}

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return by method the maps (n, B, H, T) float32: minus the gradient of the loss; token 0 is [CLS].

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the classes of interest, any of the model's.
        """
        maps: list[torch.Tensor] = []

        def attend(block: int, attention: Attention) -> torch.Tensor:
            output = attention.output()
            # In float32 whatever autocast does: these are differences of small numbers.
            with torch.autocast(images.device.type, enabled=False):
                gradients = self._gradients(block, output[:, :, 0].float(), classes)
                # One product for all losses, so that the values are read once.
                maps.append(attention.value.float() @ -gradients)
            return output

        with attending(self._model, attend):
            self._model.forward_features(images)
        return dict(zip(self._losses, torch.stack(maps, dim=1).unbind(-1), strict=True))

    def _gradients(self, block: int, heads: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Return d loss / d z (n, H, d, losses) for the heads' outputs z at [CLS]."""
        with torch.enable_grad():
            heads = heads.detach().requires_grad_()
            token = branch_of(self._model.blocks[block], heads)
            logits = class_token_logits(self._model, token)
            losses = [loss(logits, classes) for loss in self._losses.values()]
            return torch.stack([torch.autograd.grad(loss, heads, retain_graph=True)[0] for loss in losses], dim=-1)
