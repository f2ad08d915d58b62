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
            reproduced with reproduced_ci_low and reproduced_ci_high, difference (reproduced - published), all in %.
    """
    read = read_table(rates)
    ends = ("", "_ci_low", "_ci_high")
    shares = {f"accuracy_percent{end}": 100 * read[f"accuracy{end}"] for end in ends}
    found = read.assign(**shares).set_index("model").to_dict("index")
    rows = [
        (model, quantity, value, *(found[model][quantity + end] for end in ends), found[model][quantity] - value)
        for model, values in PUBLISHED.items()
        if model in found
        for quantity, value in zip(QUANTITIES, values, strict=True)
        if value is not None
    ]
    reproduced = [f"reproduced{end}" for end in ends]
    columns = ["model", "quantity", "published", *reproduced, "difference"]
    write_table(pd.DataFrame(rows, columns=columns), table)
