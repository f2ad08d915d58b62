"""All removal curves of one model in one table, with the areas under them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from classlens.csvfile import read_table, write_table


def removal_curves_table(curves: Sequence[str], areas: str, table: str, *, methods: Sequence[str], tokens: int) -> None:
    """Stack the removal curves of a model's explanations.

    Args:
        curves: tables of `classlens.passes.removal_curves`.
        areas: the table of `classlens.measures.faithfulness_auc`.
        table: the table to write. Columns: method, direction, n_removed, percent_removed, accuracy, accuracy_low,
            accuracy_high (only of random orders: extremes over seeds), auc (of the whole curve).
        methods: the explanation of each of the curves.
        tokens: P.
    """
    parts = [read_table(file).assign(method=method) for method, file in zip(methods, curves, strict=True)]
    stacked = pd.concat(parts, ignore_index=True)
    stacked = stacked.assign(percent_removed=100 * stacked["n_removed"] / tokens)
    stacked = stacked.merge(read_table(areas)[["method", "direction", "auc"]], on=["method", "direction"])
    columns = [
        "method",
        "direction",
        "n_removed",
        "percent_removed",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "auc",
    ]
    write_table(stacked.reindex(columns=columns), table)
