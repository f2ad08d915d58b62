"""Identifiability per block, a panel per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.csvfile import read_table
from classlens.figures.boxes import box_entry, draw_boxes
from classlens.figures.layout import block_axes, legend_below, panel_titles, panels
from classlens.figures.style import (
    GROUP_COLOURS,
    GROUP_LABELS,
    PAGE_WIDTH,
    SHARE_TICKS,
    chance_entry,
    chance_line,
    mark_significant,
    save,
    significance_entry,
)

COLUMNS = 2


def identifiability_evolution(
    table: str, svg: str, png: str, models: Sequence[Sequence[str]], chances: Mapping[str, float]
) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.identifiability_evolution`, with a model column and corrected p-values.
        models: name and label of each model, in display order.
        chances: by model, the mean identifiability of a random ranking.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models, chances), svg, png)


def _draw(numbers: pd.DataFrame, models: Sequence[Sequence[str]], chances: Mapping[str, float]) -> Figure:
    figure, axes = panels(len(models), COLUMNS, PAGE_WIDTH / COLUMNS, 2.0, xlabel="block")
    for panel, (name, _) in zip(axes, models, strict=True):
        _panel(panel, numbers[numbers["model"] == name], chances[name])
    panel_titles(figure, axes, [label for _, label in models])
    block_axes(axes, numbers["block"])
    figure.supylabel("identifiability")
    groups = [group for group in GROUP_LABELS if group in set(numbers["group"])]
    marks = [significance_entry("above random twin")] if numbers["significant"].any() else []
    boxes = [box_entry(GROUP_COLOURS[group], GROUP_LABELS[group]) for group in groups]
    legend_below(figure, [*boxes, chance_entry("chance"), *marks])
    return figure


def _panel(axes: Axes, numbers: pd.DataFrame, chance: float) -> None:
    present = [group for group in GROUP_LABELS if group in set(numbers["group"])]
    chance_line(axes, chance)
    for place, group in enumerate(present):
        rows = numbers[numbers["group"] == group]
        offset = 0.36 * (place - (len(present) - 1) / 2)
        draw_boxes(axes, rows, rows["block"] + 1 + offset, GROUP_COLOURS[group], width=0.32)
        marked = rows[rows["significant"]]
        mark_significant(axes, list(marked["block"] + 1 + offset), 1.07, GROUP_COLOURS[group])
    axes.set_ylim(-0.02, 1.13)
    axes.set_yticks(SHARE_TICKS)
