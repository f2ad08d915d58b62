"""CSV files with deterministic bytes."""

from __future__ import annotations

import pandas as pd

FLOAT_FORMAT = "%.6g"
TEXT = ("model", "class_name", "word", "name", "attribute", "carries")


def write_table(table: pd.DataFrame, path: str) -> None:
    """Write a table; what does not apply is left empty."""
    table.to_csv(path, index=False, float_format=FLOAT_FORMAT, lineterminator="\n")


def read_texts(path: str) -> pd.DataFrame:
    """Read a table of text, such as groups.csv: whatever its values look like."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def read_table(path: str) -> pd.DataFrame:
    """Read a table back; names of models, classes and heads stay text whatever they look like."""
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=[""])
