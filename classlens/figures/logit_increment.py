"""Logit increment rate per block, a panel per model."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.grids import model_panels
from classlens.figures.layout import legend_below

HALF = 50
"""Percent: as many tokens rise as fall."""


def draw(table: pd.DataFrame, models: style.Models) -> Figure:
    """Draw the table of `classlens.measures.logit_increment`, with a model column."""

    def panel(axes: Axes, rows: pd.DataFrame, _model: str) -> None:
        style.chance_line(axes, HALF)
        if not rows.empty:
            style.interval_line(axes, rows["block"] + 1, rows, "rate_percent", style.line_style(style.BLUE))
        axes.set(ylim=(-2, 103), yticks=style.PERCENT_TICKS)

    figure = model_panels(table, models, panel, "tokens whose logit rises (%)", columns=4, height=1.9, most=8)
    tokens = style.line_entry(style.line_style(style.BLUE), "image tokens, with interval")
    legend_below(figure, [tokens, style.line_entry(style.CHANCE, "half of the tokens")])
    return figure
