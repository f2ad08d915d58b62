"""Class and context tokens: which they are, and how the two groups are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.columns import LABELS
from classlens.hdf5 import iterate_rows
from classlens.statistics.resampling import Resampling, mean_columns, sign_flip_test

Batch = TypeVar("Batch")


def has_both(label: Array) -> Array:
    """Tell for each image whether it has tokens of both kinds: (n, P) to (n) bool."""
    result: Array = np.all([(label == value).any(1) for value in LABELS.values()], axis=0)
    return result


def with_labels(batches: Iterable[Batch], labels: str) -> Iterator[tuple[Batch, Array, Array]]:
    """Yield batches of images, which of them have tokens of both kinds, bool (n), and the token labels of these."""
    for batch, rows in zip(batches, iterate_rows(labels, ["label"]), strict=True):
        chosen = has_both(rows["label"])
        yield batch, chosen, rows["label"][chosen]


def compare_groups(groups: Mapping[str, Array], resampling: Resampling) -> pd.DataFrame:
    """Compare each image's class tokens with its context tokens.

    Args:
        groups: by name of label, (N, K) mean over each image's tokens of either kind, only images that have both.

    Returns:
        A row per quantity: images, context_mean, class_mean, difference (class - context), its bootstrap interval
        ci_low, ci_high and p_value of the two-sided sign-flip test. NaN where there is no image.
    """
    difference = groups["class"] - groups["context"]
    columns = {
        "images": len(difference),
        **{f"{name}_mean": groups[name].mean(0) if len(difference) else np.nan for name in ("context", "class")},
        **mean_columns(difference, resampling, "difference"),
        "p_value": sign_flip_test(difference, "two-sided", resampling),
    }
    return pd.DataFrame(columns)
