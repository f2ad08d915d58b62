"""What replacing sets of image tokens by their means does to every image's correct class (docs/method.md, causes)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from classlens.ablation.replace import Ablation, residuals_of
from classlens.ablation.sets import set_names, token_sets
from classlens.arrays import Array
from classlens.extraction.files import layer_columns
from classlens.hdf5 import Column
from classlens.inference.activations import key_counts
from classlens.inference.network import LoadedModel
from classlens.inference.ranks import refuse
from classlens.measures.layers import read_layout
from classlens.measures.outlier_norms import norm_thresholds
from classlens.models.inputs import to_device
from classlens.passes.base import Columns, Files, Part, Pass, Summed, Tensors, label_columns, logits_column
from classlens.passes.means import BatchSums, mean_of


class ResidualSums(BatchSums):
    """Every block's output at each token: sum (B, T, D)."""

    doing = "averaging tokens"

    def of_batch(self, images: torch.Tensor) -> list[torch.Tensor]:
        return residuals_of(self.model, self.model.embed(images))[1:]


class TokenEffects(Pass):
    """Effect (N, B, S), NaN where an image has no such tokens, and correct (N, B, S); attribute `sets`: their S names.

    After every block, sets of image tokens are replaced by their means over the images at the same place.

    Args:
        files: `layers`, the model's layer files in block order; `labels`, one file where there are masks.
        norm: see `norm_thresholds`.
        seed: of random sets.
        has_labels: there are masks.
    """

    doing = "replacing tokens"
    inputs = ("layers", "labels")

    def __init__(
        self, loaded: LoadedModel, files: Files, summed: Summed, *, norm: float | None, seed: int, has_labels: bool
    ) -> None:
        super().__init__(loaded, norm=norm, seed=seed, has_labels=has_labels)
        layout = read_layout(files["layers"][0])
        self._thresholds = norm_thresholds(list(files["layers"]), layout, norm)
        self._image_tokens, self._seed, self._has_labels = layout.image_tokens, seed, has_labels
        self._ablation, self._means = Ablation(loaded.model), mean_of(summed, loaded)

    @classmethod
    def columns(cls, model: Any, *, has_labels: bool, **_settings: object) -> Columns:
        shape = len(model.blocks), len(set_names(has_labels=has_labels))
        return {
            "effect": logits_column(
                shape,
                "output logit of the correct class as it is minus what it becomes when tokens are replaced by their "
                "mean over images: block, set; NaN: the image has no such tokens",
            ),
            "correct": Column(shape, np.bool_, "the model's largest logit is still the correct class's: block, set"),
        }

    @classmethod
    def reads(cls, model: Any) -> dict[str, Columns]:
        tokens = model.num_prefix_tokens + model.patch_embed.num_patches
        layer = layer_columns(tokens, model.num_classes, key_counts(model))
        return {
            "layers": {name: layer[name] for name in ("residual/rank", "residual/norm")},
            "labels": label_columns(model),
        }

    def attributes(self) -> dict[str, Any]:
        return {"sets": set_names(has_labels=self._has_labels)}

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        rank, norm = (part.rows["layers"][f"residual/{name}"][..., self._image_tokens] for name in ("rank", "norm"))
        labels = part.rows["labels"]["label"][:, 0] if self._has_labels else None
        sets = token_sets(rank, norm, self._thresholds, part.start, self._seed, labels)
        if self.loaded.model.num_classes == 1:  # a score ranks no tokens
            sets[:, :, [name.endswith("identifiable") for name in set_names(has_labels=self._has_labels)]] = False
        found = self._ablation.image_tokens(images, classes, self._means, to_device(sets, images.device))
        return {"effect": found.effect, "correct": found.correct, "empty": torch.from_numpy(~sets.any(-1))}

    def checked(self, arrays: dict[str, Array]) -> dict[str, Array]:
        refuse(not np.isfinite(arrays["effect"]).all(), False, "an effect of ablation")
        return arrays | {"effect": np.where(arrays["empty"], np.float32(np.nan), arrays["effect"])}
