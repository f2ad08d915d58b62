"""Box plot statistics: of identifiability over tokens, computed from counts of ranks, and of numbers."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array
from classlens.columns import BOX_COLUMNS

WHISKER = 1.5
"""Whiskers end at the last token within this many box heights of the box (Tukey)."""


def count_ranks(ranks: Array, num_classes: int) -> Array:
    """Count how often each rank occurs: (num_classes) int64."""
    return np.bincount(ranks.ravel(), minlength=num_classes)


def box_statistics(histogram: Array) -> dict[str, Array]:
    """Return the box plot of identifiability = 1 - rank / C in each row.

    Exactly what the tokens themselves would give: quartiles with linear interpolation between tokens, as numpy does it,
    whiskers at the outermost tokens within 1.5 box heights.

    Args:
        histogram: (..., C) counts of ranks 0..C-1.

    Returns:
        The five numbers of `BOX_COLUMNS`, each (...); NaN for a row without tokens.
    """
    classes = histogram.shape[-1]
    # Scores C - rank ascend with identifiability. They are integers and quartiles their fourths, so nothing is rounded
    # before the division at the end and whiskers cannot miss a token by a rounding error.
    counts = histogram[..., ::-1].reshape(-1, classes)
    scores = np.arange(1, classes + 1)
    cumulative = counts.cumsum(1)
    total = cumulative[:, -1]
    q1, median, q3 = (_quantile(cumulative, total, share) for share in (0.25, 0.5, 0.75))
    reach = WHISKER * (q3 - q1)
    low = np.where((counts > 0) & (scores >= (q1 - reach)[:, None]), scores, classes).min(1)
    high = np.where((counts > 0) & (scores <= (q3 + reach)[:, None]), scores, 0).max(1)
    box = np.stack([np.minimum(low, q1), q1, median, q3, np.maximum(high, q3)])
    box = np.where(total > 0, box / classes, np.nan).reshape(5, *histogram.shape[:-1])
    return dict(zip(BOX_COLUMNS, box, strict=True))


def _quantile(cumulative: Array, total: Array, share: float) -> Array:
    position = np.maximum(total - 1, 0) * share
    below = np.floor(position)
    lower, upper = (_ordered(cumulative, place) for place in (below, np.ceil(position)))
    result: Array = lower + (upper - lower) * (position - below)
    return result


def _ordered(cumulative: Array, place: Array) -> Array:
    """Return the score at a place (0-based) of each row's sorted tokens."""
    result: Array = (cumulative <= place[:, None]).sum(1) + 1
    return result


def boxes_of_rows(values: Array) -> dict[str, Array]:
    """Return the box plot of each row of numbers, (n, K) with K at least 1: the same as `box_statistics`, (n) each."""
    exact = values.astype(np.float64)
    q1, median, q3 = np.quantile(exact, (0.25, 0.5, 0.75), axis=1)
    reach = WHISKER * (q3 - q1)
    low = np.where(exact >= (q1 - reach)[:, None], exact, np.inf).min(1)
    high = np.where(exact <= (q3 + reach)[:, None], exact, -np.inf).max(1)
    # An outlier next to an interpolated quartile must not turn a whisker inside the box.
    return dict(zip(BOX_COLUMNS, (np.minimum(low, q1), q1, median, q3, np.maximum(high, q3)), strict=True))
