"""All removal curves of one model in one table, with the areas under them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from classlens.tables.files import read_table, write_table


def removal_curves_table(curves: Mapping[str, str], areas: str, path: str, tokens: int) -> None:
    """Stack the removal curves of a model's explanations.

    Args:
        curves: tables of `classlens.faithfulness.curves` by method.
        areas: the table of `classlens.faithfulness.area`.
        path: the table to write. Columns: method, direction, n_removed, percent_removed, accuracy, accuracy_low,
            accuracy_high (only of random orders: extremes over seeds), auc (of the whole curve).
        tokens: P.
    """
    parts = [read_table(file).assign(method=method) for method, file in curves.items()]
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(percent_removed=100 * table["n_removed"] / tokens)
    table = table.merge(read_table(areas)[["method", "direction", "auc"]], on=["method", "direction"])
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
    write_table(table.reindex(columns=columns), path)
