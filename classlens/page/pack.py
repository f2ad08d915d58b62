"""Numbers and pictures as text that a page holds and its script unpacks, an image at a time."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from classlens.arrays import Array

STEPS = 2000
"""Numbers that a page only shows are rounded to this share of the largest one beside them."""
PHOTO_QUALITY = 80
EXACT_SIDE = 64
"""Pictures up to this size (pixels) are kept without loss: each of their pixels is seen."""


def rounded(values: Array, axes: tuple[int, ...], steps: int = STEPS) -> tuple[Array, Array]:
    """Round numbers to a share of the largest one.

    Args:
        values: finite real numbers.
        axes: over which the largest absolute value is taken.
        steps: of the largest value; int16 holds the codes.

    Returns:
        int16 codes of the same shape, and float32 unit of the codes, without `axes`; code times unit is the number, to
        within unit / 2, and the unit is the largest absolute value / steps.
    """
    unit = (np.abs(values).max(axis=axes, keepdims=True) / steps).astype(np.float32)
    codes = np.rint(np.divide(values, unit, out=np.zeros(values.shape), where=unit > 0)).astype(np.int16)
    return codes, unit.squeeze(axes)


def packed(arrays: Iterable[Array]) -> str:
    """Return arrays as base64 of one zlib stream, one after the other.

    Each array is split into planes, its first bytes (little-endian, in C order), then its second ones, and so on: high
    bytes of small numbers hardly differ, and compress well together.
    """
    planes = [
        np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
        .view(np.uint8)
        .reshape(-1, array.dtype.itemsize)
        .T.tobytes()
        for array in arrays
    ]
    return base64.b64encode(zlib.compress(b"".join(planes), 9)).decode()


def picture(pixels: Array, side: int | None = None) -> str:
    """Return a picture as a data URL (WebP).

    Args:
        pixels: (H, W, 3) uint8.
        side: of the square that a larger one is shrunk to fit into; None keeps its size.
    """
    image = Image.fromarray(pixels)
    if side is not None:
        image.thumbnail((side, side), Image.Resampling.BOX)
    content = io.BytesIO()
    exact = max(image.size) <= EXACT_SIDE and max(pixels.shape[:2]) <= EXACT_SIDE
    image.save(content, "WEBP", lossless=exact, quality=100 if exact else PHOTO_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
