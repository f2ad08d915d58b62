"""Extraction: ranks, logits, strongest classes and keys of every token at every block, from one forward pass."""

from __future__ import annotations

from typing import Any

import torch

from classlens.arrays import Array
from classlens.extraction.files import shard_columns
from classlens.extraction.recorder import BatchRecorder, shard_rows
from classlens.inference.activations import key_counts
from classlens.inference.network import LoadedModel
from classlens.passes.base import Columns, Part, Pass, Tensors


class Extraction(Pass):
    """Keeps what docs/method.md names: a group for each block's layer file, and one for the output file."""

    doing = "extracting"
    chunk_rows = True

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(loaded)
        self._recorder = BatchRecorder(loaded.model)

    @classmethod
    def columns(cls, model: Any) -> Columns:
        tokens = model.patch_embed.num_patches + model.num_prefix_tokens
        return shard_columns(len(model.blocks), tokens, model.num_classes, key_counts(model))

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        return self._recorder(images, classes)

    def checked(self, arrays: dict[str, Array]) -> dict[str, Array]:
        return shard_rows(arrays)
