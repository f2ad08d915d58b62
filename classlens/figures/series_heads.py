"""Which heads make the class, and since when: a row per head, a column per checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.arrays import Array
from classlens.figures.layout import fitted, new_figure
from classlens.figures.maps import signed_map
from classlens.figures.series_identifiability import checkpoint_axis
from classlens.figures.style import MARK_COLOUR, PAGE_WIDTH, Models

COLOURS = "RdBu_r"
QUANTITIES = {"direct": "direct contribution", "effect": "effect of ablation"}
MOST = 30
"""Heads that are drawn: those with the largest effect at any checkpoint; the table has all."""
ROW, AROUND = 0.13, 0.9
"""Inches of a head, and of titles and axes."""


def draw(table: pd.DataFrame, models: Models, labels: Mapping[str, str]) -> Figure:
    """Draw the table of `classlens.measures.series.series_heads`, with a model column; a row of two panels per series.

    Models are the series' last points; labels say, by model, what its series is called.
    """
    chosen = [_largest(table[table["model"] == name]) for name, _ in models]
    figure, grid = head_rows(chosen, 2)
    for panels, rows, (name, _) in zip(grid, chosen, models, strict=True):
        numbers = sorted(set(rows["point"]))
        for panel, (quantity, text) in zip(panels, QUANTITIES.items(), strict=True):
            values = rows.pivot_table(index="place", columns="point", values=quantity)[numbers].to_numpy()
            signed_map(panel, values, COLOURS, "logit")
            head_axes(panel, rows, numbers)
            panel.set_title(fitted(f"{labels[name]}: {text}", PAGE_WIDTH / 2 - 1))
            panel.set_xlabel(str(rows["at"].iloc[0]))
        _beginnings(panels[1], rows, numbers)
    return figure


def _largest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the heads that are drawn, in their order."""
    largest = rows["effect"].abs().groupby([rows["block"], rows["head"]]).max().nlargest(MOST).index
    return placed(rows, largest)


def head_rows(chosen: Sequence[pd.DataFrame], columns: int) -> tuple[Figure, Array]:
    """Make a figure with a row of panels per series, as high as its `placed` heads are many."""
    heights = [max(1.2, ROW * rows["place"].nunique()) + AROUND for rows in chosen]
    figure = new_figure(PAGE_WIDTH, sum(heights))
    return figure, figure.subplots(len(chosen), columns, squeeze=False, height_ratios=heights)


def placed(rows: pd.DataFrame, heads: pd.Index[Any]) -> pd.DataFrame:
    """Return the rows of some heads (block, head), in their order, with the column `place`: the head's row from 0."""
    chosen = rows.set_index(["block", "head"]).loc[heads.sort_values()].reset_index()
    return chosen.assign(place=chosen.groupby(["block", "head"]).ngroup())


def head_axes(panel: Axes, rows: pd.DataFrame, numbers: Sequence[int]) -> None:
    """Make the axes of a panel heads (of `placed` rows) and checkpoints."""
    heads = rows.drop_duplicates("place").sort_values("place")
    names = [f"{block + 1}.{head + 1}" for block, head in zip(heads["block"], heads["head"], strict=True)]
    panel.set_yticks(range(len(names)), names)
    panel.set_ylabel("block.head")
    checkpoint_axis(panel, numbers)


def _beginnings(panel: Axes, rows: pd.DataFrame, numbers: Sequence[int]) -> None:
    """Mark since when each head matters."""
    heads = rows.drop_duplicates("place").dropna(subset=["begins"])
    places = [list(numbers).index(int(number)) for number in heads["begins"]]
    panel.plot(places, heads["place"], color=MARK_COLOUR, marker="o", markersize=2.5, linestyle="none")
