"""Identifiability of class and of context tokens, a panel per block of one model."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from classlens.columns import LABELS
from classlens.figures import style
from classlens.figures.boxes import box_entry, draw_boxes
from classlens.figures.layout import figure_title, legend_below, panels

MOST_COLUMNS = 6


def draw(table: pd.DataFrame, label: str, chance: float) -> Figure:
    """Draw the table of `classlens.measures.class_vs_context`; `chance` is that of a random ranking."""
    columns = math.ceil(len(table) / math.ceil(len(table) / MOST_COLUMNS))
    width = max(style.PAGE_WIDTH / MOST_COLUMNS, style.PAGE_WIDTH / 2 / columns)
    figure, axes = panels(len(table), columns, width, 1.6)
    figure_title(figure, label)
    for index, panel in enumerate(axes):
        row = table.iloc[index : index + 1]
        style.chance_line(panel, chance)
        for place, name in enumerate(LABELS):
            draw_boxes(panel, row, [place], style.LABEL_COLOURS[name], width=0.6, prefix=f"{name}_")
        style.mark_significant(panel, [0.5], row["significant"], 1.07)
        panel.set(title=f"block {int(row['block'].iloc[0]) + 1}", xlim=(-0.6, len(LABELS) - 0.4), xticks=[])
        panel.set(ylim=(-0.02, 1.13), yticks=style.SHARE_TICKS)
    figure.supylabel("identifiability")
    boxes = [box_entry(style.LABEL_COLOURS[name], f"{name} tokens") for name in LABELS]
    marks = style.significance_entries(table["significant"], "class and context differ")
    legend_below(figure, [*boxes, style.line_entry(style.CHANCE, "chance"), *marks])
    return figure
