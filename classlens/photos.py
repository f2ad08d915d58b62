"""Stored pixels as a photo."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array


def as_colours(pixels: Array) -> Array:
    """Return uint8 pixels (..., C) as red, green and blue (..., 3); other than three channels as grey, their mean."""
    if pixels.shape[-1] == 3:
        return pixels
    grey: Array = np.rint(pixels.mean(-1, keepdims=True)).astype(np.uint8).repeat(3, axis=-1)
    return grey
