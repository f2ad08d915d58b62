"""Identifiability of class and of context tokens, a panel per block of one model."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from classlens.columns import LABELS
from classlens.csvfile import read_table
from classlens.figures.boxes import box_entry, draw_boxes
from classlens.figures.layout import figure_title, legend_below, panels
from classlens.figures.style import (
    LABEL_COLOURS,
    PAGE_WIDTH,
    SHARE_TICKS,
    chance_entry,
    chance_line,
    mark_significant,
    save,
    significance_entry,
)

MOST_COLUMNS = 6


def class_vs_context(table: str, svg: str, png: str, label: str, chance: float) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.class_vs_context`.
        label: the model's.
        chance: mean identifiability of a random ranking.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, label, chance), svg, png)


def _draw(numbers: pd.DataFrame, label: str, chance: float) -> Figure:
    columns = math.ceil(len(numbers) / math.ceil(len(numbers) / MOST_COLUMNS))
    width = max(PAGE_WIDTH / MOST_COLUMNS, PAGE_WIDTH / 2 / columns)
    figure, axes = panels(len(numbers), columns, width, 1.6)
    figure_title(figure, label)
    for index, panel in enumerate(axes):
        row = numbers.iloc[index : index + 1]
        chance_line(panel, chance)
        for place, name in enumerate(LABELS):
            draw_boxes(panel, row, [place], LABEL_COLOURS[name], width=0.6, prefix=f"{name}_")
        if bool(row["significant"].iloc[0]):
            mark_significant(panel, [0.5], 1.07)
        panel.set_title(f"block {int(row['block'].iloc[0]) + 1}")
        panel.set_xlim(-0.6, len(LABELS) - 0.4)
        panel.set_xticks([])
        panel.set_ylim(-0.02, 1.13)
        panel.set_yticks(SHARE_TICKS)
    figure.supylabel("identifiability")
    marks = [significance_entry("class and context differ")] if numbers["significant"].any() else []
    boxes = [box_entry(LABEL_COLOURS[name], f"{name} tokens") for name in LABELS]
    legend_below(figure, [*boxes, chance_entry("chance"), *marks])
    return figure
