"""Intervals and tests. What is resampled are images: tokens of one image are not independent.

Values come as (N images, K quantities). One resample of the images serves all quantities at once,
as a product of matrices, so that 4,550 images and dozens of blocks take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import bootstrap, permutation_test

from classlens.arrays import Array

Alternative = Literal["two-sided", "greater", "less"]

BATCH_VALUES = 2_000_000
"""Resampled images that are held in memory at a time."""


@dataclass(frozen=True)
class Resampling:
    """How images are resampled."""

    resamples: int
    """Bootstrap samples, and permutations of a test."""
    confidence: float
    """Level of intervals, 0 to 1."""
    seed: int


def bootstrap_interval(
    values: Array, resampling: Resampling, of: Callable[[Array], Array] = lambda means: means
) -> tuple[Array, Array]:
    """Return the percentile bootstrap interval of the mean over images, or of what is computed from means.

    Args:
        values: (N, K).
        resampling: how often the images are drawn, with replacement, and the level of the interval.
        of: takes means (K, resamples) and returns (L, resamples).

    Returns:
        Lower and upper end, (L) each, (K) by default; NaN where fewer than two images leave nothing to resample.
    """
    count, quantities = values.shape
    exact = values.astype(np.float64)
    if count < 2 or not quantities:
        nothing = np.full(len(of(np.full((quantities, 1), np.nan))), np.nan)
        return nothing, nothing.copy()

    def statistic(drawn: Array, axis: int) -> Array:
        """Return (L, resamples) of the images `drawn` (resamples, N); (L) of images (N)."""
        single = np.atleast_2d(drawn)
        cells = single + count * np.arange(len(single))[:, None]
        times = np.bincount(cells.ravel(), minlength=single.size).reshape(single.shape)
        result = of((times.astype(np.float64) @ exact).T / count)
        return result if drawn.ndim > 1 else result[:, 0]

    interval = bootstrap(
        (np.arange(count),),
        statistic,
        n_resamples=resampling.resamples,
        batch=_batch(count),
        vectorized=True,
        confidence_level=resampling.confidence,
        method="percentile",
        rng=np.random.default_rng(resampling.seed),
    ).confidence_interval
    return interval.low, interval.high


def mean_columns(values: Array, resampling: Resampling, name: str = "mean", prefix: str = "") -> dict[str, Array]:
    """Return columns of a table, (K) each: the mean over images of values (N, K) and its interval.

    They are called `name`, `prefix`ci_low and `prefix`ci_high; NaN where there is no image.
    """
    low, high = bootstrap_interval(values, resampling)
    mean = values.mean(0, dtype=np.float64) if len(values) else np.full(values.shape[1], np.nan)
    return {name: mean, f"{prefix}ci_low": low, f"{prefix}ci_high": high}


def mean_row(quantities: Mapping[str, Array], resampling: Resampling) -> dict[str, float]:
    """Return a row of a table: of values (N) by name, `name`, `name`_ci_low and `name`_ci_high."""
    columns = mean_columns(np.stack(list(quantities.values()), axis=1), resampling)
    ends = dict(zip(columns, ("", "_ci_low", "_ci_high"), strict=True))
    return {
        f"{name}{ends[column]}": columns[column][place] for place, name in enumerate(quantities) for column in columns
    }


def sign_flip_test(differences: Array, alternative: Alternative, resampling: Resampling) -> Array:
    """Test by random flips of sign whether mean differences over images are zero.

    p = (k + 1) / (resamples + 1), k being the number of resamples that are at least as extreme.
    With so few images that all flips can be tried, they are, and p is the exact share.

    Args:
        differences: (N, K), a paired difference per image.
        alternative: `greater` asks whether the mean is above zero.
        resampling: how often all images' signs are flipped at random.

    Returns:
        p-values (K); NaN where fewer than two images leave nothing to flip against each other.
    """
    count, quantities = differences.shape
    if count < 2 or not quantities:
        return np.full(quantities, np.nan)
    exact = differences.astype(np.float64)
    largest = np.abs(exact).max(0)
    scaled = exact / np.where(largest > 0, largest, 1)

    def means(signs: Array, axis: int) -> Array:
        # Sums of equal numbers in another order differ in the last digits; a tie has to stay a tie.
        result: Array = np.round(signs @ scaled / count, 12)
        return result

    test = permutation_test(
        (np.ones(count),),
        means,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resampling.resamples,
        batch=_batch(count),
        alternative=alternative,
        rng=np.random.default_rng(resampling.seed),
    )
    return np.asarray(test.pvalue)


def _batch(count: int) -> int:
    return max(1, math.floor(BATCH_VALUES / count))
