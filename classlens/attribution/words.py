"""Heads in words: which directions of a dictionary explain the variance of what a head writes (TextSpan).

After Gandelsman, Efros, Steinhardt, ICLR 2024 (arXiv 2310.05916); see docs/method.md, heads in words. All of it happens
in the span of a head's leading principal axes, k numbers, in which its covariance is diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from classlens.arrays import Array

EXPLAINED = 0.99
"""Share of a head's variance that the axes of its span explain, unless that takes more than `MOST_AXES`."""
MOST_AXES = 80
LEAST = 1e-6
"""Variance along a row, as a share of all, from which on it is none."""
ROUNDING = 1e-9
"""Of shares: in a span of one axis every row has the same one."""
DRAWN_ROWS = 8192
"""Random rows that are compared at once, about."""


@dataclass(frozen=True)
class Span:
    """The span of a head's k leading principal axes.

    Attributes:
        variance: (k), along each axis, largest first.
        axes: (R, k), of length 1.
        trace: variance along all axes, these and others.
    """

    variance: Array
    axes: Array
    trace: float


def covariance(total: Array, product: Array, count: int) -> Array:
    """Return the covariance (..., F, F) of what was summed: itself (..., F) and its outer product (..., F, F)."""
    mean = total / count
    found: Array = product / count - mean[..., :, None] * mean[..., None, :]
    return found


def span_of(to_head: Array, covered: Array) -> Span:
    """Return the span of to_head (R, F) @ z, given the covariance of z (F, F)."""
    values, vectors = np.linalg.eigh(covered)
    axes, lengths, _ = np.linalg.svd(to_head @ (vectors * np.sqrt(values.clip(min=0))), full_matrices=False)
    variance = lengths**2
    trace = float(variance.sum())
    if trace <= 0:
        return Span(variance[:0], axes[:, :0], 0.0)
    enough = int(np.searchsorted(np.cumsum(variance), EXPLAINED * trace)) + 1
    kept = min(enough, MOST_AXES, len(variance))
    return Span(variance[:kept], axes[:, :kept], trace)


def unit(rows: Array) -> Array:
    """Return rows (M, R) scaled to length 1, float64; those of zeros stay."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def words_of(span: Span, rows: Array, most: int) -> list[tuple[int, float]]:
    """Return the rows of a dictionary that explain most of a head's variance, `most` at most, in their order.

    Rows (M, R) have length 1 or 0. Returned are the index of each, and the share of the variance that it explains
    beside those before it.
    """
    inside, left = rows @ span.axes, np.diag(span.variance)
    found: list[tuple[int, float]] = []
    for _ in range(most):
        along = ((inside @ left) * inside).sum(1)
        best = int(along.argmax()) if len(along) else 0
        if not len(along) or along[best] <= LEAST * span.trace:
            break
        row, length = inside[best], float(inside[best] @ inside[best])
        found.append((best, float(along[best]) / length / span.trace))
        others = np.eye(len(left)) - np.outer(row, row) / length
        left, inside = others @ left @ others, inside @ others
    return found


def null_shares(spans: Sequence[Span], rows: int, draws: int, seed: int) -> Array:
    """Return the first share of `draws` dictionaries of random unit rows (draws, heads), the same for all heads.

    A random unit row of R numbers is a Gaussian one scaled to length 1, which looks alike along any axes: drawn are k
    numbers along the axes of a head, and the squared length of the others, a chi-squared number.
    """
    width, most = len(spans[0].axes), max(len(span.variance) for span in spans)
    weights, inside = np.zeros((most, len(spans))), np.zeros((most, len(spans)))
    for number, span in enumerate(spans):
        share = span.variance / (span.trace or 1)
        weights[: len(share), number], inside[: len(share), number] = share, 1
    generator, found = np.random.default_rng(seed), []
    at_once = max(1, DRAWN_ROWS // rows)
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        squares = generator.standard_normal((count * rows, most)) ** 2
        length = squares.sum(1)
        if width > most:
            length = length + generator.chisquare(width - most, len(length))
        explained = squares @ weights
        best = (explained / length[:, None]).reshape(count, rows, -1).argmax(1)
        chosen = np.take_along_axis(explained.reshape(count, rows, -1), best[:, None], 1)[:, 0]
        within = np.take_along_axis((squares @ inside).reshape(count, rows, -1), best[:, None], 1)[:, 0]
        found.append(chosen / np.where(within > 0, within, 1))
    return np.concatenate(found)


def table_of(
    spans: Sequence[Sequence[Span]], rows: Array, words: Sequence[str], count: int, draws: int, seed: int
) -> pd.DataFrame:
    """Return words of all heads, at most `count` of each, a row per block, head and word.

    Args:
        spans: of every block and head.
        rows: dictionary (M, R) of directions, of any length; those of zeros are left out.
        words: their M names.
        draws, seed: see `null_shares`.

    Returns:
        block, head (from 0), place (from 1), word, share, cumulative (sum of shares); in rows of place 1 also null
        (95th percentile of the first shares of random dictionaries) and p_value. Heads that write the same on every
        image have no rows.
    """
    scaled = unit(rows)
    random = null_shares([span for block in spans for span in block], int(scaled.any(1).sum()), draws, seed)
    found = []
    for block, heads in enumerate(spans):
        for head, span in enumerate(heads):
            of_head, cumulative = random[:, block * len(heads) + head], 0.0
            for place, (row, share) in enumerate(words_of(span, scaled, count)):
                cumulative += share
                tested = {}
                if place == 0:
                    at_least = int((of_head >= share * (1 - ROUNDING)).sum())
                    tested = {"null": np.quantile(of_head, 0.95), "p_value": (1 + at_least) / (1 + draws)}
                words_and_shares = {"word": words[row], "share": share, "cumulative": cumulative}
                found.append({"block": block, "head": head, "place": place + 1, **words_and_shares, **tested})
    columns = ["block", "head", "place", "word", "share", "cumulative", "null", "p_value"]
    return pd.DataFrame(found, columns=columns)
