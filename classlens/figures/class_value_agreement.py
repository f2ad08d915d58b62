"""Class-value agreement over classes, a panel per model and branch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.csvfile import read_table
from classlens.figures.boxes import box_entry, draw_boxes
from classlens.figures.branches import branch_panels
from classlens.figures.layout import legend_below
from classlens.figures.style import (
    BRANCH_COLOURS,
    BRANCH_LABELS,
    chance_curve,
    chance_entry,
    mark_significant,
    save,
    significance_entry,
    twin_curve,
    twin_entry,
)

HEADROOM = 1.12
"""Stars lie above the highest whisker by this factor."""


def class_value_agreement(table: str, svg: str, png: str, models: Sequence[Sequence[str]]) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.class_value_agreement`, with a model column and corrected p-values.
        models: name and label of each model, in display order.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models), svg, png)


def _draw(numbers: pd.DataFrame, models: Sequence[Sequence[str]]) -> Figure:
    top = numbers[["whisker_high", "chance", "twin_mean"]].max().max() * HEADROOM

    def panel(axes: Axes, rows: pd.DataFrame, branch: str) -> None:
        blocks = rows["block"] + 1
        draw_boxes(axes, rows, blocks, BRANCH_COLOURS[branch], width=0.6)
        twin_curve(axes, blocks, rows["twin_mean"])
        chance_curve(axes, blocks, rows["chance"])
        marked = rows[rows["significant"]]
        mark_significant(axes, list(marked["block"] + 1), top * 0.98)
        axes.set_ylim(0, top * 1.05)

    figure = branch_panels(numbers, models, panel, "class-value agreement (cosine)")
    boxes = [box_entry(BRANCH_COLOURS[branch], text) for branch, text in BRANCH_LABELS.items()]
    twins = [twin_entry("random twin, mean")] if numbers["twin_mean"].notna().any() else []
    marks = [significance_entry("above random twin")] if numbers["significant"].any() else []
    legend_below(figure, [*boxes, chance_entry("chance"), *twins, *marks])
    return figure
