"""What heads stand for over training: a row per head, a column per checkpoint, each with the head's word."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.head_words import COLOURS, GREYED, UNNAMED, WIDEST
from classlens.figures.layout import fitted, new_figure
from classlens.figures.series_heads import AROUND, ROW, head_axes, placed
from classlens.figures.style import MARK_COLOUR, PAGE_WIDTH, Models

MOST = 40
"""Heads that are drawn: those that are named most often, then those with the largest shares; the table has all."""
LARGEST, MOST_POINTS = 6.5, 10
"""Points of a word's letters, and columns up to which words are written."""


def draw(table: pd.DataFrame, models: Models, labels: Mapping[str, str]) -> Figure:
    """Draw the figure, a panel per series.

    Args:
        table: see `classlens.measures.series.series_words`, with a model column.
        models: name and label of each series' last point, in display order.
        labels: by model, what its series is called.
    """
    chosen = [
        _chosen(table[table["model"] == name].assign(named=lambda rows: rows["name"].notna())) for name, _ in models
    ]
    heights = [max(1.2, ROW * rows["place"].nunique()) + AROUND for rows in chosen]
    figure = new_figure(PAGE_WIDTH, sum(heights))
    panels = figure.subplots(len(models), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, rows, (name, _) in zip(panels, chosen, models, strict=True):
        _panel(figure, panel, rows)
        panel.set_title(fitted(f"{labels[name]}: first words of heads", PAGE_WIDTH - 2))
        panel.set_xlabel(str(rows["at"].iloc[0]))
    return figure


def _chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the heads that are drawn, in their order."""
    by_head = rows.groupby(["block", "head"]).agg(named=("named", "sum"), share=("share", "max"))
    drawn = by_head.sort_values(["named", "share"], ascending=False, kind="stable").head(MOST).index
    return placed(rows, drawn)


def _panel(figure: Figure, panel: Axes, rows: pd.DataFrame) -> None:
    numbers = sorted(set(rows["point"]))
    shares = np.full((rows["place"].nunique(), len(numbers)), np.nan)
    columns = rows["point"].map(numbers.index)
    named = rows["named"].to_numpy(dtype=bool)
    shares[rows["place"][named], columns[named]] = 100 * rows["share"][named]
    panel.set_facecolor(UNNAMED)
    shown = panel.imshow(shares, cmap=COLOURS, vmin=0, vmax=100, aspect="auto", alpha=0.8)
    for column, row in zip(columns, rows.to_dict("records"), strict=True) if len(numbers) <= MOST_POINTS else ():
        word = row["word"] if len(row["word"]) <= WIDEST else row["word"][: WIDEST - 1] + "…"
        colour = ("white" if row["share"] > 0.6 else MARK_COLOUR) if row["named"] else GREYED
        size = min(LARGEST, 60 * LARGEST / (len(numbers) * max(6, len(word))))
        panel.text(column, row["place"], word, size=size, color=colour, ha="center", va="center")
    head_axes(panel, rows, numbers)
    figure.colorbar(shown, ax=panel, label="variance explained (%)")
