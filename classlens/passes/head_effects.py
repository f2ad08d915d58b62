"""What replacing each head by its mean does to every image's correct class (docs/method.md, causes)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from classlens.ablation.replace import Ablation, attended
from classlens.arrays import Array
from classlens.hdf5 import Column
from classlens.inference.network import LoadedModel
from classlens.inference.ranks import refuse
from classlens.passes.base import Columns, Part, Pass, Summed, Tensors, logits_column
from classlens.passes.means import BatchSums, mean_of


class HeadSums(BatchSums):
    """What each head of each block puts out at each token: sum (B, H, T, d)."""

    doing = "averaging heads"

    def of_batch(self, images: torch.Tensor) -> list[torch.Tensor]:
        return attended(self.model, images)


class HeadEffects(Pass):
    """Effect of replacing each head and what it writes directly, (N, B, H), and the logit (N).

    Every head's output, at all tokens, is replaced by its mean over the images at that token.

    Args:
        files: `attribution`, one file where the output is a sum of what heads write; else `direct` is NaN.
    """

    doing = "ablating heads"
    inputs = ("attribution",)

    def __init__(self, loaded: LoadedModel, files: object, summed: Summed) -> None:
        super().__init__(loaded)
        self._ablation, self._means = Ablation(loaded.model), mean_of(summed, loaded)

    @classmethod
    def columns(cls, model: Any) -> Columns:
        shape = len(model.blocks), model.blocks[0].attn.num_heads
        return {
            "effect": logits_column(
                shape,
                "output logit of the correct class as it is minus what it becomes when a head is replaced by its mean "
                "over images: block, head",
            ),
            "direct": logits_column(
                shape,
                "what a head writes into that logit, from all tokens: block, head; NaN: the output is no such sum",
            ),
            "logit": logits_column((), "output logit of the correct class"),
        }

    @classmethod
    def reads(cls, model: Any) -> dict[str, Columns]:
        tokens = model.num_prefix_tokens + model.patch_embed.num_patches
        shape = (len(model.blocks), model.blocks[0].attn.num_heads, tokens)
        return {"attribution": {"heads": Column(shape, np.float32, "see `classlens.passes.attribution`")}}

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        found = self._ablation.heads(images, classes, self._means)
        direct = torch.full(found.effect.shape, torch.nan)
        if "attribution" in part.rows:
            written = part.rows["attribution"]["heads"][:, 0].sum(-1, dtype=np.float64)
            direct = torch.from_numpy(written.astype(np.float32))
        return {"effect": found.effect, "direct": direct, "logit": found.logit}

    def checked(self, arrays: dict[str, Array]) -> dict[str, Array]:
        refuse(not np.isfinite(arrays["effect"]).all(), False, "an effect of ablation")
        return arrays
