"""Direct logit attribution of every image's correct class."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.attribution.decompose import MOST_GAP, LogitAttribution
from classlens.errors import InputError
from classlens.inference.cuda_graph import CudaGraph
from classlens.inference.network import LoadedModel
from classlens.passes.base import Columns, Part, Pass, Tensors, logits_column


class AttributeLogits(Pass):
    """Parts of the correct class's output logit: heads (N, B, H, T), attention_bias and mlp (N, B), the rest (N)."""

    doing = "attributing"
    analysis = "logit_attribution"
    """Which a user leaves out where it does not apply."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(loaded)
        self._attribute, self._gap = LogitAttribution(loaded.model), 0.0
        self._parts = CudaGraph(self._of_batch)
        self.images_that_fit = self._attribute.images_that_fit

    @classmethod
    def columns(cls, model: Any) -> Columns:
        blocks, heads = len(model.blocks), model.blocks[0].attn.num_heads
        tokens = model.num_prefix_tokens + model.patch_embed.num_patches
        described = {
            "heads": ((blocks, heads, tokens), "what a head writes into the logit from a token: block, head, token"),
            "attention_bias": ((blocks,), "what biases of the attention branch write into the logit: block"),
            "mlp": ((blocks,), "what the MLP branch writes into the logit: block"),
            "embedding": ((), "what the input of the first block writes into the logit"),
            "constant": ((), "what biases of the last norms and of the head write into the logit"),
            "logit": ((), "output logit of the correct class, the sum of all other parts"),
        }
        return {name: logits_column(*column) for name, column in described.items()}

    def _of_batch(self, images: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self._attribute(images, classes)
        parts = {field.name: getattr(found, field.name).float() for field in fields(found)}
        return {**parts, "gap": found.gap()}

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        return self._parts(images, classes)

    def checked(self, arrays: dict[str, Array]) -> dict[str, Array]:
        gap = float(arrays["gap"].max())
        if not np.isfinite(gap):
            raise InputError("contributions are not finite; check the weights, or set extraction.precision to float32")
        if self.loaded.precision == "float32" and gap > MOST_GAP:
            raise InputError(
                f"the parts of a logit differ from it by {gap:.1g} of the largest part, so this model computes "
                f"something that attribution does not know of; leave {self.analysis} out of its analyses"
            )
        self._gap = max(self._gap, gap)
        return arrays

    def provenance(self) -> dict[str, Any]:
        return {"largest_gap": self._gap}
