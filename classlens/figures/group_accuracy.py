"""Accuracy by group of images: a panel per model and attribute."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.figures.layout import legend_below, new_figure, panel_titles
from classlens.figures.style import BLUE, CHANCE, PAGE_WIDTH, RED, Entry, Models, line_entry

MOST = 16
"""Groups that are shown, those with the smallest accuracy."""
LINE = 0.2
"""Inches of a group."""
RING = {"marker": "o", "markersize": 8.0, "markerfacecolor": "none", "markeredgecolor": RED, "linestyle": "none"}
DOT = {"marker": "o", "markersize": 4.0, "markeredgewidth": 0.0, "color": BLUE, "linestyle": "none"}


def draw(table: pd.DataFrame, models: Models) -> Figure:
    """Draw the table of `classlens.measures.group_accuracy`, with the column model."""
    shown = [
        (f"{label}: {attribute}", rows)
        for name, label in models
        for attribute, rows in table[table["model"] == name].groupby("attribute", sort=False)
    ]
    lines = [min(MOST, int((rows["what"] == "group").sum())) for _, rows in shown]
    figure = new_figure(PAGE_WIDTH * 0.75, sum(lines) * LINE + 0.55 * len(shown) + 0.5)
    grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=lines)
    axes = [panel for [panel] in grid]
    for panel, (_, rows) in zip(axes, shown, strict=True):
        _panel(panel, rows)
    panel_titles(figure, axes, [title for title, _ in shown])
    axes[-1].set_xlabel("accuracy (%)")
    entries: list[Entry] = [line_entry(CHANCE, "all images"), (Line2D([], [], **RING), "worst group")]
    legend_below(figure, entries)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    groups = rows[rows["what"] == "group"].sort_values("accuracy", kind="stable").head(MOST).iloc[::-1]
    [every], worst = (rows[rows["what"] == what].to_dict("records") for what in ("all", "worst"))
    axes.axvspan(100 * every["ci_low"], 100 * every["ci_high"], color="0.9", linewidth=0)
    axes.axvline(100 * every["accuracy"], **CHANCE)
    for place, row in enumerate(groups.to_dict("records")):
        errors = [[100 * (row["accuracy"] - row["ci_low"])], [100 * (row["ci_high"] - row["accuracy"])]]
        axes.errorbar(100 * row["accuracy"], place, xerr=errors, elinewidth=0.9, **DOT)
        if any((row["class_name"], row["carries"]) == (one["class_name"], one["carries"]) for one in worst):
            axes.plot(100 * row["accuracy"], place, **RING)
    names = [f"{row['class_name']}, {row['carries']} ({row['images']})" for row in groups.to_dict("records")]
    axes.set_yticks(range(len(groups)), names)
    axes.set(xlim=(-2, 102), ylim=(-0.6, len(groups) - 0.4))
    axes.grid(visible=False, axis="y")
