"""How often a branch's class is that of a memory it calls up, a panel per model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from classlens.csvfile import read_table
from classlens.figures.layout import block_axes, legend_below, panel_titles, panels
from classlens.figures.style import (
    BRANCH_COLOURS,
    BRANCH_LABELS,
    PAGE_WIDTH,
    PERCENT_TICKS,
    interval_band,
    interval_entry,
    line_style,
    save,
)

COLUMNS = 4


def memory_composition(table: str, svg: str, png: str, models: Sequence[Sequence[str]]) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.memory_composition`, with a model column.
        models: name and label of each model, in display order.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models), svg, png)


def _draw(numbers: pd.DataFrame, models: Sequence[Sequence[str]]) -> Figure:
    columns = min(len(models), COLUMNS)
    figure, axes = panels(len(models), columns, PAGE_WIDTH / max(columns, 2), 1.9, xlabel="block")
    for panel, (name, _) in zip(axes, models, strict=True):
        for branch, colour in BRANCH_COLOURS.items():
            rows = numbers[(numbers["model"] == name) & (numbers["branch"] == branch)]
            interval_band(panel, rows["block"] + 1, rows["ci_low"], rows["ci_high"], colour)
            panel.plot(rows["block"] + 1, rows["percent"], **line_style(colour))
        panel.set_ylim(-2, 103)
        panel.set_yticks(PERCENT_TICKS)
    panel_titles(figure, axes, [label for _, label in models])
    block_axes(axes, numbers["block"], most=8)
    figure.supylabel("tokens (%)")
    legend_below(figure, [interval_entry(BRANCH_COLOURS[branch], text) for branch, text in BRANCH_LABELS.items()])
    return figure
