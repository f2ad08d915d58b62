"""What was run: models, data, accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.statistics.resampling import Resampling, bootstrap_interval

COLUMNS = (
    *("model", "label", "architecture", "weights", "dataset", "images", "classes", "accuracy", "ci_low", "ci_high"),
    *("model_classes", "blocks", "heads", "width", "image_tokens", "prefix_tokens"),
)


def overview(outputs: Sequence[str], table: str, models: Sequence[Mapping[str, Any]], resampling: Resampling) -> None:
    """Write what was run.

    Args:
        outputs: the output file of each model.
        table: the table to write, a row per model: what `models` says; images, classes (that these show), accuracy (a
            fraction; empty of a score) with ci_low, ci_high (bootstrap over images).
        models: in the same order, columns of the table: model, label, architecture, weights, dataset, and its size.
    """
    rows = []
    for path, facts in zip(outputs, models, strict=True):
        with h5py.File(path, "r") as file:
            correct, classes = file["correct"][:].astype(np.float64), np.unique(file["class_index"][:])
        scores = facts["model_classes"] == 1  # which are never right
        low, high = bootstrap_interval(correct[: 0 if scores else None, None], resampling)
        found = {
            "images": len(correct), "classes": len(classes), "accuracy": np.nan if scores else correct.mean(),
        }  # fmt: skip
        rows.append({**facts, **found, "ci_low": low[0], "ci_high": high[0]})
    write_table(pd.DataFrame(rows)[[*COLUMNS]], table)
