"""Mean identifiability on a depth axis that models of any depth share."""

from __future__ import annotations

import pandas as pd

from classlens.csvfile import write_table
from classlens.measures.identifiability import read_identifiability
from classlens.statistics.depth import by_position
from classlens.statistics.resampling import Resampling


def identifiability_comparison(measures: str, table: str, resampling: Resampling) -> None:
    """Average identifiability at each position of the normalised depth axis.

    Args:
        measures: the model's file of identifiability.
        table: the table to write, a row per group of tokens (`cls`, `image`) and position. Columns: group, position,
            blocks (how many share it), mean, ci_low, ci_high (bootstrap over images).
    """
    parts = [
        pd.DataFrame({"group": group, **by_position(means, resampling)[0]})
        for group, means in read_identifiability(measures).means.items()
    ]
    write_table(pd.concat(parts, ignore_index=True), table)
