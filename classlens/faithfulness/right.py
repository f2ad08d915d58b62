"""Whether a model is right about each image by order and step of removal: what removal curves are means of."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array
from classlens.faithfulness.steps import DIRECTIONS
from classlens.hdf5 import Column


def right_columns(orders: int, steps: int) -> dict[str, Column]:
    """Return the data sets, by direction, of a file with what `right_rows` gives."""
    return dict.fromkeys(DIRECTIONS, Column((orders, steps), np.bool_, "the model is right, by order and step"))


def right_rows(right: Array) -> dict[str, Array]:
    """Return rows (n, S, steps) by direction of bool (2 directions, S, n, steps)."""
    return dict(zip(DIRECTIONS, right.swapaxes(1, 2), strict=True))
