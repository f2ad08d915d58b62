"""Identifiability per block, a panel per model."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.boxes import box_entry, draw_boxes
from classlens.figures.grids import model_panels
from classlens.figures.layout import legend_below


def draw(table: pd.DataFrame, models: style.Models, chances: style.Chances) -> Figure:
    """Draw the table of `classlens.measures.identifiability_evolution`, with a model column and corrected p-values."""

    def panel(axes: Axes, rows: pd.DataFrame, model: str) -> None:
        style.chance_line(axes, chances[model])
        present = style.groups_in(rows)
        for place, group in enumerate(present):
            own = rows[rows["group"] == group]
            x = own["block"] + 1 + 0.36 * (place - (len(present) - 1) / 2)
            draw_boxes(axes, own, x, style.GROUP_COLOURS[group], width=0.32)
            style.mark_significant(axes, x, own["significant"], 1.07, style.GROUP_COLOURS[group])
        axes.set(ylim=(-0.02, 1.13), yticks=style.SHARE_TICKS)

    figure = model_panels(table, models, panel, "identifiability", columns=2, height=2.0)
    boxes = [box_entry(style.GROUP_COLOURS[group], style.GROUP_LABELS[group]) for group in style.groups_in(table)]
    marks = style.significance_entries(table["significant"], "above random twin")
    legend_below(figure, [*boxes, style.line_entry(style.CHANCE, "chance"), *marks])
    return figure
