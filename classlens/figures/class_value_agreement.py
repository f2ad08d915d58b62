"""Class-value agreement over classes, a panel per model and branch."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.boxes import box_entry, draw_boxes
from classlens.figures.grids import branch_panels
from classlens.figures.layout import legend_below

HEADROOM = 1.12
"""Stars lie above the highest whisker by this factor."""


def draw(table: pd.DataFrame, models: style.Models) -> Figure:
    """Draw the table of `classlens.measures.class_value_agreement`, with a model column and corrected p-values."""
    top = table[["whisker_high", "chance", "twin_mean"]].max().max() * HEADROOM

    def panel(axes: Axes, rows: pd.DataFrame, branch: str) -> None:
        blocks = rows["block"] + 1
        draw_boxes(axes, rows, blocks, style.BRANCH_COLOURS[branch], width=0.6)
        style.control_curve(axes, blocks, rows["twin_mean"])
        style.chance_curve(axes, blocks, rows["chance"])
        style.mark_significant(axes, blocks, rows["significant"], top * 0.98)
        axes.set_ylim(0, top * 1.05)

    figure = branch_panels(table, models, panel, "class-value agreement (cosine)")
    boxes = [box_entry(style.BRANCH_COLOURS[branch], text) for branch, text in style.BRANCH_LABELS.items()]
    twins = [style.line_entry(style.CONTROL, "random twin, mean")] if table["twin_mean"].notna().any() else []
    marks = style.significance_entries(table["significant"], "above random twin")
    legend_below(figure, [*boxes, style.line_entry(style.CHANCE, "chance"), *twins, *marks])
    return figure
