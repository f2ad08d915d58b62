"""Mark what is significant in a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from classlens.measures.statistics import corrected
from classlens.tables.combine import combine
from classlens.tables.files import write_table


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


def tested_table(paths: Sequence[str], path: str, models: Sequence[str], correction: str, confidence: float) -> None:
    """Stack one table per model, correct the p-values over all of them and write it to `path`."""
    write_table(with_correction(combine(paths, models), correction, confidence), path)
