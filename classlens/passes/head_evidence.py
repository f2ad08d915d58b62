"""What every head writes into the class that the model predicts, and from which tokens (docs/method.md, shortcuts)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from classlens.columns import LABELS
from classlens.extraction.files import output_columns
from classlens.inference.network import LoadedModel
from classlens.models.inputs import to_device
from classlens.passes.attribution import AttributeLogits
from classlens.passes.base import Columns, Files, Part, Tensors, label_columns, logits_column


class HeadEvidence(AttributeLogits):
    """Direct contribution (N, B, H) of each head to the predicted class's logit, and |parts| by token (N, B, H, 3).

    Args:
        files: `output`, whose first of `top5` is predicted; `labels`, one file where there are masks.
    """

    inputs = ("output", "labels")
    analysis = "shortcut_heads"

    def __init__(self, loaded: LoadedModel, files: Files) -> None:
        super().__init__(loaded)
        self._has_labels = bool(files["labels"])

    @classmethod
    def columns(cls, model: Any) -> Columns:
        shape = len(model.blocks), model.blocks[0].attn.num_heads
        read = "sum of |what a head writes into that logit from a token| over context, class and other tokens"
        direct = "what a head writes into the predicted class's logit"
        return {"direct": logits_column(shape, direct), "read": logits_column((*shape, 3), read)}

    @classmethod
    def reads(cls, model: Any) -> dict[str, Columns]:
        return {"output": {"top5": output_columns(model.num_classes)["top5"]}, "labels": label_columns(model)}

    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        predicted = part.rows["output"]["top5"][:, 0].astype(np.int64)
        found = self._parts(images, to_device(predicted, images.device))
        heads, prefix = found["heads"], self.loaded.model.num_prefix_tokens
        labels = torch.full((len(images), heads.shape[-1]), -1, device=heads.device)
        if self._has_labels:
            labels[:, prefix:] = to_device(part.rows["labels"]["label"][:, 0].astype(np.int64), heads.device)
        of_label = [labels == value for value in (*LABELS.values(), -1)]
        read = [(heads.abs() * of[:, None, None]).sum(-1) for of in of_label]
        return {"direct": heads.sum(-1), "read": torch.stack(read, -1), "gap": found["gap"]}
