"""Class-value agreement over classes, a panel per model and branch."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.boxes import box_entry, draw_boxes
from classlens.figures.grids import branch_panels
from classlens.figures.layout import legend_below
from classlens.figures.style import (
    BRANCH_COLOURS,
    BRANCH_LABELS,
    CHANCE,
    CONTROL,
    Models,
    chance_curve,
    control_curve,
    line_entry,
    mark_significant,
    significance_entries,
)

HEADROOM = 1.12
"""Stars lie above the highest whisker by this factor."""


def draw(table: pd.DataFrame, models: Models) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.class_value_agreement`, with a model column and corrected p-values.
        models: name and label of each model, in display order.
    """
    top = table[["whisker_high", "chance", "twin_mean"]].max().max() * HEADROOM

    def panel(axes: Axes, rows: pd.DataFrame, branch: str) -> None:
        blocks = rows["block"] + 1
        draw_boxes(axes, rows, blocks, BRANCH_COLOURS[branch], width=0.6)
        control_curve(axes, blocks, rows["twin_mean"])
        chance_curve(axes, blocks, rows["chance"])
        mark_significant(axes, blocks, rows["significant"], top * 0.98)
        axes.set_ylim(0, top * 1.05)

    figure = branch_panels(table, models, panel, "class-value agreement (cosine)")
    boxes = [box_entry(BRANCH_COLOURS[branch], text) for branch, text in BRANCH_LABELS.items()]
    twins = [line_entry(CONTROL, "random twin, mean")] if table["twin_mean"].notna().any() else []
    marks = significance_entries(table["significant"], "above random twin")
    legend_below(figure, [*boxes, line_entry(CHANCE, "chance"), *twins, *marks])
    return figure
