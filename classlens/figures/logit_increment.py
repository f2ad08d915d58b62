"""Logit increment rate per block, a panel per model."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.grids import model_panels
from classlens.figures.layout import legend_below
from classlens.figures.style import (
    BLUE,
    CHANCE,
    PERCENT_TICKS,
    Models,
    chance_line,
    interval_line,
    line_entry,
    line_style,
)

HALF = 50
"""Percent: as many tokens rise as fall."""


def draw(table: pd.DataFrame, models: Models) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.logit_increment`, with a model column.
        models: name and label of each model, in display order.
    """

    def panel(axes: Axes, rows: pd.DataFrame, _model: str) -> None:
        chance_line(axes, HALF)
        if not rows.empty:
            interval_line(axes, rows["block"] + 1, rows, "rate_percent", line_style(BLUE))
        axes.set(ylim=(-2, 103), yticks=PERCENT_TICKS)

    figure = model_panels(table, models, panel, "tokens whose logit rises (%)", columns=4, height=1.9, most=8)
    tokens = line_entry(line_style(BLUE), "image tokens, with interval")
    legend_below(figure, [tokens, line_entry(CHANCE, "half of the tokens")])
    return figure
