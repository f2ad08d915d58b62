"""Class and context tokens: which they are, and how the two groups are compared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.columns import LABELS
from classlens.statistics.resampling import Resampling, bootstrap_interval, sign_flip_test


def has_both(label: Array) -> Array:
    """Tell for each image whether it has tokens of both kinds: (n, P) to (n) bool."""
    result: Array = np.all([(label == value).any(1) for value in LABELS.values()], axis=0)
    return result


def compare_groups(groups: Mapping[str, Array], resampling: Resampling) -> pd.DataFrame:
    """Compare each image's class tokens with its context tokens.

    Args:
        groups: by name of label, (N, K) mean over each image's tokens of either kind, only images
            that have both.

    Returns:
        A row per quantity: images, context_mean, class_mean, difference (class - context), its bootstrap interval
        ci_low, ci_high and p_value of the two-sided sign-flip test. NaN where there is no image.
    """
    difference = groups["class"] - groups["context"]
    low, high = bootstrap_interval(difference, resampling)
    return pd.DataFrame(
        {
            "images": len(difference),
            "context_mean": _mean(groups["context"]),
            "class_mean": _mean(groups["class"]),
            "difference": _mean(difference),
            "ci_low": low,
            "ci_high": high,
            "p_value": sign_flip_test(difference, "two-sided", resampling),
        }
    )


def _mean(values: Array) -> Array:
    return values.mean(0) if len(values) else np.full(values.shape[1], np.nan)
