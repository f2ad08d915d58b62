"""Rank correlation of two quantities that are means over images."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from classlens.arrays import Array
from classlens.statistics.resampling import Resampling, bootstrap_interval


def spearman_of_means(first: Array, second: Array, resampling: Resampling) -> tuple[float, float, float]:
    """Return Spearman's rank correlation over K things of their mean values over images, and its interval.

    Args:
        first, second: (N, K).
        resampling: how often the images are drawn, with replacement, and the level of the interval.

    Returns:
        The correlation, lower and upper end of its percentile bootstrap interval. All are NaN where all means of one
        are equal, the ends also where fewer than two images leave nothing to resample.
    """
    both = np.concatenate([first, second], axis=1).astype(np.float64)
    rho = _spearman(both.mean(0)[:, None]).item()
    if not np.isfinite(rho):
        return np.nan, np.nan, np.nan
    (low,), (high,) = bootstrap_interval(both, resampling, _spearman)
    return float(rho), float(low), float(high)


def _spearman(means: Array) -> Array:
    """Return (1, r) of means (2 K, r): Pearson's correlation of ranks, equal values sharing theirs."""
    x, y = (ranks - ranks.mean(0) for ranks in (rankdata(half, axis=0) for half in np.split(means, 2)))
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Array = (x * y).sum(0, keepdims=True) / np.sqrt((x * x).sum(0) * (y * y).sum(0))
    return result
