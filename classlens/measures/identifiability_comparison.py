"""Mean identifiability on a depth axis that models of any depth share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from classlens.measures.identifiability import read_identifiability
from classlens.measures.statistics import bootstrap_interval
from classlens.tables.files import write_table

Array = npt.NDArray[Any]

POSITIONS = 12
"""Positions of the normalised depth axis: as many as a base-size vision transformer has blocks."""


def depth_positions(blocks: int) -> Array:
    """Return the position (1..12) of each block on the normalised depth axis: ceil(12 (b + 1) / B).

    The last block is always at 12; blocks of a deeper model share positions, a shallower one leaves
    gaps.
    """
    return -(-POSITIONS * np.arange(1, blocks + 1) // blocks)


def identifiability_comparison(measured: str, path: str, resamples: int, confidence: float, seed: int) -> None:
    """Average identifiability at each position of the normalised depth axis.

    Args:
        measured: the model's file of identifiability.
        path: the table to write, a row per group of tokens (`cls`, `image`) and position. Columns:
            group, position, blocks (how many share it), mean, ci_low, ci_high (bootstrap over
            images).
    """
    parts = []
    for group, means in read_identifiability(measured).means.items():
        positions, inverse = np.unique(depth_positions(means.shape[1]), return_inverse=True)
        shared = np.bincount(inverse)
        # Blocks at one position are averaged within each image, so that images stay the unit of
        # resampling.
        averages = means @ (np.eye(len(positions))[inverse] / shared)
        low, high = bootstrap_interval(averages, resamples, confidence, seed)
        columns = {
            "group": group,
            "position": positions,
            "blocks": shared,
            "mean": averages.mean(0),
            "ci_low": low,
            "ci_high": high,
        }
        parts.append(pd.DataFrame(columns))
    write_table(pd.concat(parts, ignore_index=True), path)
