"""Put the measures of all models into one table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from classlens.tables.files import read_table, write_table


def combine(paths: Sequence[str], models: Sequence[str]) -> pd.DataFrame:
    """Stack one table per model.

    Args:
        paths: tables with the same columns.
        models: names in the same order; they become the first column.
    """
    tables = [read_table(path) for path in paths]
    for table, model in zip(tables, models, strict=True):
        table.insert(0, "model", model)
    # A column that is empty for one model must not decide the type it has for the others.
    filled = [table.dropna(axis="columns", how="all") for table in tables]
    return pd.concat(filled, ignore_index=True).reindex(columns=tables[0].columns)


def combined_table(paths: Sequence[str], path: str, models: Sequence[str]) -> None:
    """Stack one table per model and write the result to `path`, see `combine`."""
    write_table(combine(paths, models), path)
