"""How often a branch's class is that of a memory it calls up, a panel per model."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.grids import model_panels
from classlens.figures.layout import legend_below
from classlens.figures.style import BRANCH_COLOURS, PERCENT_TICKS, Models, branch_entries, interval_line, line_style


def draw(table: pd.DataFrame, models: Models) -> Figure:
    """Draw the table of `classlens.measures.memory_composition`, with a model column."""

    def panel(axes: Axes, rows: pd.DataFrame, _model: str) -> None:
        for branch, colour in BRANCH_COLOURS.items():
            own = rows[rows["branch"] == branch]
            interval_line(axes, own["block"] + 1, own, "percent", line_style(colour))
        axes.set(ylim=(-2, 103), yticks=PERCENT_TICKS)

    figure = model_panels(table, models, panel, "tokens (%)", columns=4, height=1.9, most=8)
    legend_below(figure, branch_entries())
    return figure
