"""Both agreements of keys, values and classes over normalised depth, a line per model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.columns import POSITIONS
from classlens.csvfile import read_table
from classlens.figures.layout import legend_below, panels
from classlens.figures.style import (
    BRANCH_LABELS,
    PAGE_WIDTH,
    chance_entry,
    chance_of_model,
    interval_band,
    model_style,
    save,
)

MEASURE_LABELS = {"class_value": "class-value agreement\n(cosine)", "key_value": "key-value agreement\n(% of tokens)"}


def memory_comparison(table: str, svg: str, png: str, models: Sequence[Sequence[str]]) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.memory_comparison`, with a model column.
        models: name and label of each model, in display order.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models), svg, png)


def _draw(numbers: pd.DataFrame, models: Sequence[Sequence[str]]) -> Figure:
    columns = len(BRANCH_LABELS)
    count = columns * len(MEASURE_LABELS)
    figure, axes = panels(count, columns, PAGE_WIDTH / columns, 2.0, xlabel="normalised depth", share_rows=True)
    for row, (measure, text) in enumerate(MEASURE_LABELS.items()):
        for column, (branch, name) in enumerate(BRANCH_LABELS.items()):
            panel = axes[columns * row + column]
            chosen = numbers[(numbers["measure"] == measure) & (numbers["branch"] == branch)]
            for index, (model, _) in enumerate(models):
                rows = chosen[chosen["model"] == model].sort_values("position")
                look = model_style(index)
                interval_band(panel, rows["position"], rows["ci_low"], rows["ci_high"], look["color"])
                panel.plot(rows["position"], rows["mean"], **look)
                chance_of_model(panel, rows["position"], rows["chance"], look["color"])
            panel.set_title(name if row == 0 else "")
            panel.set_ylabel(text if column == 0 else "")
            panel.set_ylim(bottom=0)
            panel.grid(visible=False, axis="x")
    axes[0].set_xlim(0.5, POSITIONS + 0.5)
    axes[0].set_xticks(range(2, POSITIONS + 1, 2))
    lines = [(Line2D([], [], **model_style(index)), label) for index, (_, label) in enumerate(models)]
    legend_below(figure, [*lines, chance_entry("chance, in the model's colour")])
    return figure
