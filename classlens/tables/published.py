"""The paper's published values beside the reproduced ones."""

from __future__ import annotations

import pandas as pd

from classlens.csvfile import read_table, write_table
from classlens.tables.published_values import PUBLISHED, QUANTITIES


def published_comparison(rates: str, table: str) -> None:
    """Compare the rates of the last block with the published ones.

    Args:
        rates: the table identifiability_rates.
        table: the table to write, a row per model and quantity that were published: model, quantity, published,
            reproduced, difference (reproduced - published), all in %.
    """
    read = read_table(rates)
    found = read.assign(accuracy_percent=100 * read["accuracy"]).set_index("model")[list(QUANTITIES)].to_dict("index")
    rows = [
        (model, quantity, value, found[model][quantity], found[model][quantity] - value)
        for model, values in PUBLISHED.items()
        if model in found
        for quantity, value in zip(QUANTITIES, values, strict=True)
        if value is not None
    ]
    write_table(pd.DataFrame(rows, columns=["model", "quantity", "published", "reproduced", "difference"]), table)
