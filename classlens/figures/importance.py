"""Colours of importance over a photo, which shows where there is little of it."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np

from classlens.arrays import Array

STRONGEST_COVER = 0.75
"""Opacity of the map at its largest value, so that the photo shows through."""


def palette(*, signed: bool) -> str:
    """Return matplotlib's name of the colours: from blue (against) to red (for), or from yellow to red (most)."""
    return "coolwarm" if signed else "YlOrRd"


def lowest(*, signed: bool) -> int:
    """Return the share that the first colour stands for; the last one stands for 1."""
    return -1 if signed else 0


def shares(values: Array) -> Array:
    """Return values as shares of the largest absolute one; zeros stay zeros."""
    largest = np.abs(values).max()
    return values / largest if largest > 0 else values


def opacity(found: Array, *, signed: bool) -> Array:
    """Return the opacity of shares.

    Signs are told apart from little importance on; what is never negative mostly has some importance everywhere, so
    that the photo would be covered.
    """
    return STRONGEST_COVER * (np.abs(found) ** 0.5 if signed else np.clip(found, 0, None))


def colours(values: Array, *, signed: bool) -> Array:
    """Return red, green, blue and opacity (..., 4) uint8 of values."""
    found, low = shares(values), lowest(signed=signed)
    rgba = mpl.colormaps[palette(signed=signed)]((found - low) / (1 - low))
    rgba[..., 3] = opacity(found, signed=signed)
    codes: Array = np.rint(255 * rgba).astype(np.uint8)
    return codes
