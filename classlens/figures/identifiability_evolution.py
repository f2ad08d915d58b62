"""Identifiability per block, a panel per model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.boxes import box_entry, draw_boxes
from classlens.figures.grids import model_panels
from classlens.figures.layout import legend_below
from classlens.figures.style import (
    CHANCE,
    GROUP_COLOURS,
    GROUP_LABELS,
    SHARE_TICKS,
    Models,
    chance_line,
    line_entry,
    mark_significant,
    significance_entries,
)


def draw(table: pd.DataFrame, models: Models, chances: Mapping[str, float]) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.identifiability_evolution`, with a model column and corrected p-values.
        models: name and label of each model, in display order.
        chances: by model, the mean identifiability of a random ranking.
    """

    def panel(axes: Axes, rows: pd.DataFrame, model: str) -> None:
        chance_line(axes, chances[model])
        present = _groups(rows)
        for place, group in enumerate(present):
            own = rows[rows["group"] == group]
            x = own["block"] + 1 + 0.36 * (place - (len(present) - 1) / 2)
            draw_boxes(axes, own, x, GROUP_COLOURS[group], width=0.32)
            mark_significant(axes, x, own["significant"], 1.07, GROUP_COLOURS[group])
        axes.set(ylim=(-0.02, 1.13), yticks=SHARE_TICKS)

    figure = model_panels(table, models, panel, "identifiability", columns=2, height=2.0)
    boxes = [box_entry(GROUP_COLOURS[group], GROUP_LABELS[group]) for group in _groups(table)]
    marks = significance_entries(table["significant"], "above random twin")
    legend_below(figure, [*boxes, line_entry(CHANCE, "chance"), *marks])
    return figure


def _groups(table: pd.DataFrame) -> list[str]:
    return [group for group in GROUP_LABELS if group in set(table["group"])]
