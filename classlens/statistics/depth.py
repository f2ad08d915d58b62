"""The depth axis that models of any depth share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from classlens.arrays import Array
from classlens.columns import POSITIONS
from classlens.statistics.resampling import Resampling, mean_columns


def depth_positions(blocks: int) -> npt.NDArray[np.intp]:
    """Return each block's position on the normalised depth axis, ceil(12 (b + 1) / B): (B), from 1 to 12.

    Blocks of a deeper model share positions; a shallower one leaves some empty.
    """
    return -(-POSITIONS * np.arange(1, blocks + 1) // blocks)


def by_position(values: Array, resampling: Resampling) -> tuple[dict[str, Array], Array]:
    """Average blocks that share a position, within each unit of resampling.

    Args:
        values: (N, B), N images or classes.
        resampling: see `bootstrap_interval`.

    Returns:
        position, blocks (how many share it), mean, ci_low, ci_high; and the weights (B, positions) of the averages.
    """
    positions, inverse = np.unique(depth_positions(values.shape[1]), return_inverse=True)
    shared = np.bincount(inverse)
    weights = np.eye(len(positions))[inverse] / shared
    return {"position": positions, "blocks": shared, **mean_columns(values @ weights, resampling)}, weights
