"""Attention perturbations: what image tokens may attend to, in every block (docs/method.md, perturbations).

`self_only`: themselves alone. `no_cls`: the weight of [CLS] is taken out after the softmax, and the others are not
scaled up, as in the published code (Vilas et al. 2023, arXiv 2310.18969). `no_cls_renormalised`: [CLS] is masked before
the softmax. Prefix tokens attend to all, as without a perturbation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from classlens.catalog.kinds import require_attention_kind
from classlens.hdf5 import Column, index_dtype
from classlens.inference.attention import Attend, Attention, patch_attention
from classlens.inference.network import LoadedModel
from classlens.inference.projection import Projection
from classlens.inference.ranks import rank_tokens
from classlens.inference.tokens import TokenModel
from classlens.passes.base import Columns, Part, Pass, Tensors


class PerturbAttention(Pass):
    """What is left of a model under an attention perturbation: rank (N, T) at the last block, and correct (N)."""

    doing = "perturbing attention"

    def __init__(self, loaded: LoadedModel, *, kind: str) -> None:
        super().__init__(loaded, kind=kind)
        self._perturbed = AttentionPerturbation(loaded.model, kind, loaded.architecture)

    @classmethod
    def columns(cls, model: Any, *, kind: str) -> Columns:
        tokens, index = model.num_prefix_tokens + model.patch_embed.num_patches, index_dtype(model.num_classes)
        rank = f"number of classes with a larger logit than the correct one at the last block, attention {kind}"
        return {
            "rank": Column((tokens,), index, rank, "classes"),
            "correct": Column((), np.bool_, f"the model's largest logit is the correct class's, attention {kind}"),
        }

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        rank, correct = self._perturbed(images, classes)
        return {"rank": rank, "correct": correct}


class AttentionPerturbation:
    """A model whose image tokens attend to less.

    Args:
        model: a supported timm model in evaluation mode.
        kind: one of `kinds.ATTENTION_KINDS`.
        name: the model's, for messages.

    Raises:
        InputError: the kind is unknown or does not apply to the model.
    """

    def __init__(self, model: Any, kind: str, name: str = "the model") -> None:
        require_attention_kind(kind, name, has_class_token=model.cls_token is not None)
        self.tokens = TokenModel(model)
        self._attend = restrict(kind, self.tokens.prefix)
        self._project = Projection(model)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rank (n, T) int32 at the last block and whether the model is right (n).

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the correct ones.
        """
        tokens = self.tokens.embed(images)
        with patch_attention(self.tokens.model, self._attend):
            residual = self.tokens.residual(tokens)
        correct = self.tokens.logits(residual).argmax(-1) == classes
        return rank_tokens(self._project, residual, classes), correct


ImageRows = Callable[[Attention, slice], torch.Tensor]
"""Returns the outputs (n, H, P, d) of the image tokens, which the slice picks."""


def restrict(kind: str, prefix: int) -> Attend:
    """Return what computes attention under a perturbation, for `patch_attention`.

    Args:
        kind: one of `kinds.ATTENTION_KINDS`.
        prefix: number of prefix tokens, which attend to all.
    """
    image_rows, rows = IMAGE_ROWS[kind], slice(prefix, None)

    def attend(_block: int, attention: Attention) -> torch.Tensor:
        perturbed = image_rows(attention, rows)
        return torch.cat([attention.output(slice(prefix)), perturbed], dim=2) if prefix else perturbed

    return attend


def _no_cls(attention: Attention, rows: slice) -> torch.Tensor:
    # A weight of zero is a value of zero: the other weights stay what the softmax over all tokens made of them.
    value = attention.value.clone()
    value[:, :, 0] = 0
    return attention.output(rows, value=value)


IMAGE_ROWS: dict[str, ImageRows] = {
    "self_only": lambda attention, rows: attention.alone(rows),
    "no_cls": _no_cls,
    "no_cls_renormalised": lambda attention, rows: attention.output(rows, slice(1, None)),
}
