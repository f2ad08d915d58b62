"""Explanations of the correct class: `importance` (N, P), and `maps` (N, B, H, P) where the explanation has any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.explanations.explainer import Explainer, heads_of_maps
from classlens.hdf5 import Column
from classlens.inference.network import LoadedModel
from classlens.passes.base import Columns, Part, Pass, Tensors


class Explanation(Pass):
    """Explains the correct class of every image.

    Args:
        explain: makes an explainer of the model, see `classlens.catalog.methods.Method.compute`.
        has_maps: its importance is a sum of maps.
        method_settings: further arguments of `explain`.
    """

    doing = "explaining"
    has_facts = False

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        explain: Callable[..., Explainer],
        has_maps: bool,
        method_settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(loaded, explain=explain, has_maps=has_maps)
        self._explainer = explain(loaded.model, **method_settings or {})
        self.images_that_fit = self._explainer.images_that_fit

    @classmethod
    def columns(cls, model: Any, *, explain: object, has_maps: bool, method_settings: object = None) -> Columns:
        patches = model.patch_embed.num_patches
        columns = {"importance": Column((patches,), np.float32, "importance of each image token")}
        if has_maps:
            shape = (len(model.blocks), heads_of_maps(explain, model), patches)
            # Mantissas of gradients do not compress; packing them would only take time.
            columns["maps"] = Column(shape, np.float32, "contribution of each head at each block", compress=False)
        return columns

    def written(self) -> Columns:
        texts = {"importance": f"importance of each image token: {self._explainer.importance}"}
        texts["maps"] = self._explainer.maps or ""
        return {name: replace(column, description=texts[name]) for name, column in super().written().items()}

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        return self._explainer(images, classes)

    def checked(self, arrays: dict[str, Array]) -> dict[str, Array]:
        if not np.isfinite(arrays["importance"]).all():
            raise InputError("importance is not finite; check the weights, or set extraction.precision to float32")
        return arrays
