"""Share of outlier tokens by block, and their identifiability beside that of the others; a row of panels per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from classlens.csvfile import read_table
from classlens.figures.layout import block_axes, legend_below, panel_titles
from classlens.figures.style import (
    ORANGE,
    PAGE_WIDTH,
    PURPLE,
    SHARE_TICKS,
    chance_entry,
    chance_line,
    interval_band,
    interval_entry,
    line_style,
    mark_significant,
    save,
    significance_entry,
    twin_curve,
    twin_entry,
)

HEIGHT = 1.7
"""Inches of a row of panels."""


def outlier_tokens(
    table: str,
    svg: str,
    png: str,
    models: Sequence[Sequence[str]],
    chances: Mapping[str, float],
    twin_of: Mapping[str, str],
) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.outlier_tokens`, with a model column.
        models: name and label of each model, in display order.
        chances: by model, the mean identifiability of a random ranking.
        twin_of: by model, the name of its random twin.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models, chances, twin_of), svg, png)


def _draw(
    numbers: pd.DataFrame, models: Sequence[Sequence[str]], chances: Mapping[str, float], twin_of: Mapping[str, str]
) -> Figure:
    figure = Figure(figsize=(PAGE_WIDTH, HEIGHT * len(models)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(models), 2, sharey="col", squeeze=False)
    for (left, right), (name, _) in zip(grid, models, strict=True):
        rows, twin = (_rows(numbers, one) for one in (name, twin_of.get(name)))
        x = rows["block"] + 1
        interval_band(left, x, 100 * rows["share_ci_low"], 100 * rows["share_ci_high"], PURPLE)
        left.plot(x, 100 * rows["share"], **line_style(PURPLE))
        twin_curve(left, twin["block"] + 1, 100 * twin["share"])
        left.set_ylabel("outliers (%)")
        chance_line(right, chances[name])
        for column, colour in (("others_mean", ORANGE), ("outliers_mean", PURPLE)):
            right.plot(x, rows[column], **line_style(colour))
        mark_significant(right, list(rows.loc[rows["significant"], "block"] + 1), 1.09)
        right.set_ylabel("identifiability")
        right.set_ylim(-0.02, 1.16)
        right.set_yticks(SHARE_TICKS)
        for panel in (left, right):
            block_axes([panel], rows["block"])
    for panel in grid[-1]:
        panel.set_xlabel("block")
    panel_titles(figure, list(grid.ravel()), [label for _, label in models for _ in range(2)])
    marks = [significance_entry("outliers and others differ")] if numbers["significant"].any() else []
    twins = [twin_entry("random twin")] if twin_of else []
    lines = [interval_entry(PURPLE, "outlier tokens"), interval_entry(ORANGE, "other image tokens")]
    legend_below(figure, [*lines, *twins, chance_entry("chance"), *marks])
    return figure


def _rows(numbers: pd.DataFrame, model: str | None) -> pd.DataFrame:
    return numbers[numbers["model"] == model].sort_values("block")
