"""Logit increment rate per block, a panel per model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from classlens.csvfile import read_table
from classlens.figures.layout import block_axes, legend_below, panel_titles, panels
from classlens.figures.style import (
    BLUE,
    PAGE_WIDTH,
    PERCENT_TICKS,
    chance_entry,
    chance_line,
    interval_band,
    interval_entry,
    line_style,
    save,
)

HALF = 50
"""Percent: as many tokens rise as fall."""
COLUMNS = 4


def logit_increment(table: str, svg: str, png: str, models: Sequence[Sequence[str]]) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.logit_increment`, with a model column.
        models: name and label of each model, in display order.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models), svg, png)


def _draw(numbers: pd.DataFrame, models: Sequence[Sequence[str]]) -> Figure:
    columns = min(len(models), COLUMNS)
    figure, axes = panels(len(models), columns, PAGE_WIDTH / max(columns, 2), 1.9, xlabel="block")
    for panel, (name, _) in zip(axes, models, strict=True):
        rows = numbers[numbers["model"] == name]
        chance_line(panel, HALF)
        if not rows.empty:
            interval_band(panel, rows["block"] + 1, rows["ci_low"], rows["ci_high"], BLUE)
            panel.plot(rows["block"] + 1, rows["rate_percent"], **line_style(BLUE))
        panel.set_ylim(-2, 103)
        panel.set_yticks(PERCENT_TICKS)
    panel_titles(figure, axes, [label for _, label in models])
    block_axes(axes, numbers["block"], most=8)
    figure.supylabel("tokens whose logit rises (%)")
    legend_below(figure, [interval_entry(BLUE, "image tokens, with interval"), chance_entry("half of the tokens")])
    return figure
