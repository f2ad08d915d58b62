"""What agreement chance alone would give."""

from __future__ import annotations

from scipy.integrate import quad
from scipy.stats import beta, hypergeom

TAIL = 1e-9
"""Probability on either side of the range in which the largest cosine is integrated densely."""


def largest_cosine(width: int, memories: int) -> float:
    """Return the expected largest cosine of a fixed direction with independent random ones.

    The cosine t of two random directions in D dimensions has (1 + t) / 2 ~ Beta((D - 1) / 2, (D - 1) / 2); with its
    distribution F, the largest of M has the distribution F^M and the mean 1 - integral of F^M over [-1, 1].

    Args:
        width: D, at least 2.
        memories: M.
    """
    shape = (width - 1) / 2
    # F^M rises from 0 to 1 within a narrow range, which the quadrature has to be shown.
    low, high = (2 * beta.ppf(share ** (1 / memories), shape, shape) - 1 for share in (TAIL, 1 - TAIL))
    area, _ = quad(lambda t: beta.cdf((1 + t) / 2, shape, shape) ** memories, low, high, epsabs=1e-10, limit=200)
    return float(1 - area - (1 - high))


def shared_memory(memories: int, keys: int, strongest: int) -> float:
    """Return the probability that random keys hit any of a class's strongest memories.

    Drawing without replacement: 1 - C(M - L, K) / C(M, K).

    Args:
        memories: M.
        keys: K, the memory keys of a token.
        strongest: L, the strongest memories of a class.
    """
    return float(1 - hypergeom.pmf(0, memories, strongest, keys))
