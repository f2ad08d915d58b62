"""Correct the p-values of one figure or table together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.arrays import Array


def corrected(p_values: Array, correction: str) -> Array:
    """Correct the p-values of one figure or table together.

    Args:
        p_values: any shape; NaN marks what was not tested and does not count.
        correction: `holm` or `fdr_bh` (Benjamini-Hochberg).

    Returns:
        Corrected p-values, same shape.
    """
    # Takes over a second to import, and most jobs do not need it.
    from statsmodels.stats.multitest import multipletests

    result = np.full(np.shape(p_values), np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        result[tested] = multipletests(p_values[tested], method=correction)[1]
    return result


def with_correction(table: pd.DataFrame, correction: str, confidence: float) -> pd.DataFrame:
    """Correct all p-values of a table together.

    Args:
        table: with a column `p_value`, empty where nothing was tested.
        correction: `holm` or `fdr_bh`.
        confidence: 1 - confidence is the level of significance.

    Returns:
        The table with two columns more: `p_corrected` and `significant` (False also where nothing
        was tested).
    """
    p_values = corrected(table["p_value"].to_numpy(dtype=float), correction)
    return table.assign(p_corrected=p_values, significant=p_values < 1 - confidence)
