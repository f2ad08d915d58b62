"""Which tokens a removal curve keeps, step by step. Imports no torch, so that tables can be made without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

DIRECTIONS = ("negative", "positive")
"""Negative test: the most important tokens are kept. Positive test: the least important are."""
EVERY_COUNT_UP_TO = 64
"""Image tokens up to which every number of kept tokens is tried."""
MOST_COUNTS = 50
"""Numbers of kept tokens that are tried of models with more image tokens."""
SCORE_CHANGES = "absolute change of the score from that of the whole image"
"""What stands in files in place of whether a model is right, where that puts out a score."""
PIXEL_PERCENT = tuple(range(0, 100, 10))
"""Shares of pixels that removal on pixels paints black, %."""


def removal_counts(tokens: int) -> list[int]:
    """Return the numbers of image tokens to keep, rising, 1 and P among them: all, or evenly spread ones."""
    if tokens <= EVERY_COUNT_UP_TO:
        return list(range(1, tokens + 1))
    return [round(count) for count in np.linspace(1, tokens, MOST_COUNTS).tolist()]


def importance_order(importance: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the image tokens (..., P) from the most to the least important; of equals the first comes first."""
    return np.argsort(-importance, axis=-1, kind="stable")


def pixel_area(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the area under curves of removal on pixels, as published: trapezoids over 0 to 0.9, times 100.

    Args:
        values: (..., steps), accuracies at `PIXEL_PERCENT`.
    """
    return np.asarray(np.trapezoid(np.asarray(values, np.float64), PIXEL_PERCENT, axis=-1))
