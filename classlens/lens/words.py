"""Words of heads on the images of a view (docs/method.md, heads in words)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from classlens.arrays import Array
from classlens.attribution.head_outputs import HeadOutputs, spans_of
from classlens.attribution.words import covariance, table_of
from classlens.errors import InputError
from classlens.inference.batches import collect
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.probe import image_parameter
from classlens.measures.head_words import with_names

CORRECTION, CONFIDENCE = "holm", 0.95


def words_on(
    model: Any,
    inputs: torch.Tensor,
    classes: Sequence[str],
    vocabulary: Mapping[str, Any] | None,
    *,
    per_head: int,
    draws: int,
    seed: int,
    batch_size: int,
) -> pd.DataFrame:
    """Return the words of the heads of a supported timm model on inputs (N, 3, H, W), normalised; see `View.words`.

    Raises:
        InputError: there are fewer than two images, or directions of another length.
    """
    if len(inputs) < 2:
        raise InputError("words say how what heads write varies over images; look at two images at least, better many")
    with torch.no_grad(), frozen_eval_mode(model):
        outputs, like = HeadOutputs(model), image_parameter(model)
        found = collect(len(inputs), batch_size, lambda part: outputs(inputs[part].to(like)).double().cpu().numpy())
        z = np.concatenate(found)
        by_head = z.transpose(1, 2, 0, 3)
        covered = covariance(z.sum(0), by_head.swapaxes(-2, -1) @ by_head, len(z))
        spans, own = spans_of(outputs, covered), outputs.rows().double().cpu().numpy()
    rows, words = (own, classes) if vocabulary is None else _directions(vocabulary, own.shape[1])
    return with_names(table_of(spans, rows, words, per_head, draws, seed), CORRECTION, CONFIDENCE)


def _directions(vocabulary: Mapping[str, Any], width: int) -> tuple[Array, list[str]]:
    if not isinstance(vocabulary, Mapping) or not vocabulary:
        raise InputError("a vocabulary maps words to directions; give a mapping with at least one word")
    rows = [np.asarray(torch.as_tensor(row).detach().cpu(), dtype=np.float64) for row in vocabulary.values()]
    wrong = next((word for word, row in zip(vocabulary, rows, strict=True) if row.shape != (width,)), None)
    if wrong is not None:
        raise InputError(f"the direction of {wrong!r} is no {width} numbers, which is what the model's head reads")
    return np.stack(rows), [str(word) for word in vocabulary]
