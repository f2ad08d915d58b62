"""Readouts that timm lacks, as timm models that differ in nothing else."""

from __future__ import annotations

from typing import Any

import torch
from timm.models._builder import build_model_with_cfg
from timm.models._registry import generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer, _cfg
from torch import nn

__all__ = ["ClassAndMean", "vit_class_and_mean"]

default_cfgs = generate_default_cfgs({"vit_class_and_mean": _cfg(input_size=(3, 224, 224))})


class ClassAndMean(VisionTransformer):
    """A vision transformer whose head (C, 2 D) reads [CLS ; mean of the image tokens], as DINOv2's linear heads do."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.num_classes > 0:
            self.head = nn.Linear(2 * self.embed_dim, self.num_classes)

    def pool(self, x: torch.Tensor, pool_type: str | None = None) -> torch.Tensor:
        """Return [CLS ; mean of the image tokens] (n, 2 D) of normalised tokens (n, T, D)."""
        return torch.cat([x[:, 0], x[:, self.num_prefix_tokens :].mean(1)], -1)


@register_model
def vit_class_and_mean(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """Build it by timm.create_model; takes the options of VisionTransformer."""
    model: VisionTransformer = build_model_with_cfg(ClassAndMean, "vit_class_and_mean", pretrained, **options)
    return model
