"""Both agreements of keys, values and classes over normalised depth, a line per model."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.layout import depth_axis, legend_below, panels

MEASURE_LABELS = {"class_value": "class-value agreement\n(cosine)", "key_value": "key-value agreement\n(% of tokens)"}


def draw(table: pd.DataFrame, models: style.Models) -> Figure:
    """Draw the table of `classlens.measures.memory_comparison`, with a model column."""
    columns = len(style.BRANCH_LABELS)
    count = columns * len(MEASURE_LABELS)
    figure, axes = panels(count, columns, style.PAGE_WIDTH / columns, 2.0, xlabel="normalised depth", sharey="row")
    for row, (measure, text) in enumerate(MEASURE_LABELS.items()):
        for column, (branch, name) in enumerate(style.BRANCH_LABELS.items()):
            panel = axes[columns * row + column]
            chosen = table[(table["measure"] == measure) & (table["branch"] == branch)]
            for index, (model, _) in enumerate(models):
                rows, look = chosen[chosen["model"] == model].sort_values("position"), style.model_style(index)
                style.interval_line(panel, rows["position"], rows, "mean", look)
                panel.plot(rows["position"], rows["chance"], **style.CHANCE | {"color": look["color"]})
            panel.set(title="" if row else name, ylabel="" if column else text)
            panel.set_ylim(bottom=0)
            panel.grid(visible=False, axis="x")
    depth_axis(axes[0])
    legend_below(
        figure, [*style.model_entries(models), style.line_entry(style.CHANCE, "chance, in the model's colour")]
    )
    return figure
