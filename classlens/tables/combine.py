"""Put the measures of all models into one table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from classlens.csvfile import read_table, write_table
from classlens.statistics.correction import with_correction


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


def stacked_table(
    measures: Sequence[str],
    table: str,
    models: Sequence[str],
    correction: str | None = None,
    confidence: float | None = None,
) -> None:
    """Stack one table per model and write the result; its p-values are corrected over all of them.

    Args:
        measures: a table per model.
        table: the table to write.
        models: names in the same order.
        correction, confidence: see `with_correction`; None where the table has no p-values.
    """
    stacked = combine(measures, models)
    if correction is not None and confidence is not None:
        stacked = with_correction(stacked, correction, confidence)
    write_table(stacked, table)
