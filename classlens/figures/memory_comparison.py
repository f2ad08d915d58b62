"""Both agreements of keys, values and classes over normalised depth, a line per model."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from classlens.figures.layout import depth_axis, legend_below, panels
from classlens.figures.style import (
    BRANCH_LABELS,
    CHANCE,
    PAGE_WIDTH,
    Models,
    interval_line,
    line_entry,
    model_entries,
    model_style,
)

MEASURE_LABELS = {"class_value": "class-value agreement\n(cosine)", "key_value": "key-value agreement\n(% of tokens)"}


def draw(table: pd.DataFrame, models: Models) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.memory_comparison`, with a model column.
        models: name and label of each model, in display order.
    """
    columns = len(BRANCH_LABELS)
    count = columns * len(MEASURE_LABELS)
    figure, axes = panels(count, columns, PAGE_WIDTH / columns, 2.0, xlabel="normalised depth", share_rows=True)
    for row, (measure, text) in enumerate(MEASURE_LABELS.items()):
        for column, (branch, name) in enumerate(BRANCH_LABELS.items()):
            panel = axes[columns * row + column]
            chosen = table[(table["measure"] == measure) & (table["branch"] == branch)]
            for index, (model, _) in enumerate(models):
                rows, look = chosen[chosen["model"] == model].sort_values("position"), model_style(index)
                interval_line(panel, rows["position"], rows, "mean", look)
                panel.plot(rows["position"], rows["chance"], **CHANCE | {"color": look["color"]})
            panel.set(title="" if row else name, ylabel="" if column else text)
            panel.set_ylim(bottom=0)
            panel.grid(visible=False, axis="x")
    depth_axis(axes[0])
    legend_below(figure, [*model_entries(models), line_entry(CHANCE, "chance, in the model's colour")])
    return figure
