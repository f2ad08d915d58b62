"""A pooling that timm lacks: the head reads [CLS ; mean of the image tokens], 2 D numbers.

So do DINOv2's own linear heads and Dinov2ForImageClassification of transformers; other prefix tokens than [CLS] are
read by neither half. The option `global_pool: cls_mean` of `classlens.models.build.build` makes such a model: timm's
entry points name the class that they make, so the class of the model that they made is changed.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

from classlens.models.facts import CLS_MEAN


def head_width(model: Any) -> int:
    """Return how many numbers the head of a supported model reads, what its pooling puts out: D mostly."""
    if model.global_pool == CLS_MEAN:
        return 2 * int(model.embed_dim)
    return int(getattr(getattr(model, "attn_pool", None), "out_features", model.embed_dim))


def first_pooled(model: Any) -> int:
    """Return the first token of those whose mean or attention is the pooled vector: 0, or the first image token."""
    everything = isinstance(model, Eva) and model.attn_pool is not None
    included = everything or getattr(model, "pool_include_prefix", False)
    return 0 if included and model.global_pool != CLS_MEAN else int(model.num_prefix_tokens)


def adds_positions(model: Any) -> bool:
    """Tell whether a model's pool adds a position to each token that it reads."""
    return getattr(getattr(model, "attn_pool", None), "pos_embed", None) is not None


class _ReadsClassAndMean:
    """What is changed of a model: its pooling and the width of its head."""

    def pool(self: Any, x: torch.Tensor, pool_type: str | None = None) -> torch.Tensor:
        """Return (n, 2 D) of tokens (n, T, D), as timm's own for another type of pooling."""
        if pool_type not in (None, CLS_MEAN):
            pooled: torch.Tensor = super().pool(x, pool_type)  # type: ignore[misc]
            return pooled
        return torch.cat([x[:, 0], x[:, self.num_prefix_tokens :].mean(1)], dim=-1)

    def reset_classifier(self: Any, num_classes: int, global_pool: str | None = None) -> None:
        """Give the model a fresh head of so many classes (0: none).

        Raises:
            ValueError: `global_pool` is another one, for which the model would have to be built anew.
        """
        if global_pool not in (None, CLS_MEAN):
            raise ValueError(f"its head reads [CLS ; mean], so it cannot pool by {global_pool!r}; build it anew")
        like = next(self.parameters())
        self.num_classes = num_classes
        self.head_hidden_size = 2 * self.embed_dim
        self.head = (
            torch.nn.Linear(2 * self.embed_dim, num_classes, device=like.device, dtype=like.dtype)
            if num_classes > 0
            else torch.nn.Identity()
        ).train(self.training)


class ClassAndMeanVisionTransformer(_ReadsClassAndMean, VisionTransformer):
    """timm's VisionTransformer whose head reads [CLS ; mean]."""


class ClassAndMeanEva(_ReadsClassAndMean, Eva):
    """timm's Eva (also its DINOv3) whose head reads [CLS ; mean]."""


READS_CLASS_AND_MEAN: dict[type, type] = {VisionTransformer: ClassAndMeanVisionTransformer, Eva: ClassAndMeanEva}


def read_class_and_mean(model: Any) -> None:
    """Let a model of timm, built with `global_pool="token"`, read [CLS ; mean], in place; its head is a fresh one.

    Raises:
        ValueError: it is of another family.
    """
    if (kind := READS_CLASS_AND_MEAN.get(type(model))) is None:
        raise ValueError(f"global_pool {CLS_MEAN!r} is for VisionTransformer and Eva, and no {type(model).__name__}")
    model.__class__ = kind
    model.global_pool = CLS_MEAN
    model.reset_classifier(model.num_classes)
