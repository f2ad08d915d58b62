"""What heads stand for over training: a row per head, a column per checkpoint, each with the head's word."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.layout import fitted
from classlens.figures.maps import word_look, word_map
from classlens.figures.series_heads import head_axes, head_rows, placed
from classlens.figures.style import PAGE_WIDTH, Models

MOST = 40
"""Heads that are drawn: those that are named most often, then those with the largest shares; the table has all."""
LARGEST, MOST_POINTS = 6.5, 10
"""Points of a word's letters, and columns up to which words are written."""


def draw(table: pd.DataFrame, models: Models, labels: Mapping[str, str]) -> Figure:
    """Draw the table of `classlens.measures.series.series_words`, with a model column; a panel per series.

    Models are the series' last points; labels say, by model, what its series is called.
    """
    heads = table.assign(named=table["name"].notna())
    chosen = [_chosen(heads[heads["model"] == name]) for name, _ in models]
    figure, panels = head_rows(chosen, 1)
    for panel, rows, (name, _) in zip(panels[:, 0], chosen, models, strict=True):
        _panel(panel, rows)
        panel.set_title(fitted(f"{labels[name]}: first words of heads", PAGE_WIDTH - 2))
        panel.set_xlabel(str(rows["at"].iloc[0]))
    return figure


def _chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the heads that are drawn, in their order."""
    by_head = rows.groupby(["block", "head"]).agg(named=("named", "sum"), share=("share", "max"))
    drawn = by_head.sort_values(["named", "share"], ascending=False, kind="stable").head(MOST).index
    return placed(rows, drawn)


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    numbers = sorted(set(rows["point"]))
    shares = np.full((rows["place"].nunique(), len(numbers)), np.nan)
    columns = rows["point"].map(numbers.index)
    named = rows["named"].to_numpy(dtype=bool)
    shares[rows["place"][named], columns[named]] = 100 * rows["share"][named]
    word_map(panel, shares)
    for column, row in zip(columns, rows.to_dict("records"), strict=True) if len(numbers) <= MOST_POINTS else ():
        word, colour = word_look(row)
        size = min(LARGEST, 60 * LARGEST / (len(numbers) * max(6, len(word))))
        panel.text(column, row["place"], word, size=size, color=colour, ha="center", va="center")
    head_axes(panel, rows, numbers)
