"""Outlier tokens: image tokens whose norm is far above that of the others in their block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classlens.arrays import Array
from classlens.h5 import h5py
from classlens.measures.layers import Layout

DEVIATIONS = 6
"""Median absolute deviations above the median. Registers paper: Darcet et al., ICLR 2024 (arXiv 2309.16588)."""


def norm_thresholds(layers: Sequence[str], layout: Layout, fixed: float | None) -> Array:
    """Return the norm above which an image token is an outlier, by block: (B) float64.

    Args:
        layers: the model's layer files in block order. The norms of one block, all its image tokens, are in memory at
            a time: 4 N P bytes.
        layout: of these files.
        fixed: the same threshold for all blocks; None: median + 6 x median absolute deviation of each block's image
            tokens.
    """
    if fixed is not None:
        return np.full(len(layers), float(fixed))
    found = []
    for layer in layers:
        with h5py.File(layer, "r") as file:
            norms = file["residual/norm"][:, layout.image_tokens]
        median = float(np.median(norms))
        found.append(median + DEVIATIONS * float(np.median(np.abs(norms - np.float32(median)))))
    return np.array(found)
