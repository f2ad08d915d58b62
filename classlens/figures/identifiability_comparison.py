"""Mean identifiability over normalised depth, a line per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.layout import depth_axis, legend_below, panels
from classlens.figures.style import (
    CHANCE,
    CONTROL,
    GROUP_LABELS,
    PAGE_WIDTH,
    SHARE_TICKS,
    Models,
    chance_line,
    interval_line,
    line_entry,
    model_entries,
    model_style,
)


def draw(table: pd.DataFrame, models: Models, chances: Mapping[str, float], twins: Sequence[str]) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.identifiability_comparison`, with a model column.
        models: name and label of each model, in display order.
        chances: by model, the mean identifiability of a random ranking; a line for each that differs.
        twins: names of the random twins, which share one look.
    """
    groups = [group for group in GROUP_LABELS if group in set(table["group"])]
    width = PAGE_WIDTH / len(GROUP_LABELS)
    figure, axes = panels(len(groups), len(GROUP_LABELS), width, 2.4, xlabel="normalised depth")
    for panel, group in zip(axes, groups, strict=True):
        for level in sorted({chances[name] for name, _ in models}):
            chance_line(panel, level)
        _panel(panel, table[table["group"] == group], models, twins)
        panel.set_title(GROUP_LABELS[group])
    axes[0].set_ylabel("mean identifiability")
    of_twins = [line_entry(CONTROL, "random twins")] if twins else []
    legend_below(figure, [*model_entries(models), *of_twins, line_entry(CHANCE, "chance")])
    return figure


def _panel(axes: Axes, table: pd.DataFrame, models: Models, twins: Sequence[str]) -> None:
    for name in twins:
        rows = table[table["model"] == name]
        axes.plot(rows["position"], rows["mean"], **CONTROL)
    for index, (name, _) in enumerate(models):
        rows = table[table["model"] == name]
        interval_line(axes, rows["position"], rows, "mean", model_style(index))
    depth_axis(axes)
    axes.set(ylim=(-0.02, 1.03), yticks=SHARE_TICKS)
    axes.grid(visible=False, axis="x")
