"""A model beside its random twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.statistics.resampling import Resampling, mean_columns

COLUMNS = ("twin_mean", "difference", "difference_ci_low", "difference_ci_high", "p_value")


def beside_twin(
    values: Array, twin: Array | None, resampling: Resampling, test: Callable[[Array], Array], units: str
) -> dict[str, Any]:
    """Compare a model with its random twin, block by block.

    Args:
        values: (N, B), N images or classes.
        twin: the same of the twin; None where there is none.
        resampling: see `bootstrap_interval`.
        test: gives the p-values (B) of the paired differences (N, B).
        units: what is resampled, for messages.

    Returns:
        twin_mean, difference, difference_ci_low, difference_ci_high, p_value; NaN without a twin.

    Raises:
        InputError: the twin has other blocks or units.
    """
    if twin is None:
        return dict.fromkeys(COLUMNS, np.nan)
    if twin.shape != values.shape:
        raise InputError(
            f"a model of {values.shape[1]} blocks and {values.shape[0]} {units} cannot be compared with a random "
            f"twin of {twin.shape[1]} blocks and {twin.shape[0]} {units}: give both the same architecture, options "
            "and data set"
        )
    difference = values.astype(np.float64) - twin
    between = mean_columns(difference, resampling, "difference", "difference_")
    return {"twin_mean": twin.mean(0, dtype=np.float64), **between, "p_value": test(difference)}
