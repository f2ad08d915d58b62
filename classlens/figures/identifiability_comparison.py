"""Mean identifiability over normalised depth, a line per model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.layout import depth_axis, legend_below, panels


def draw(table: pd.DataFrame, models: style.Models, chances: style.Chances, twins: Sequence[str]) -> Figure:
    """Draw the table of `classlens.measures.identifiability_comparison`, with a model column.

    There is a line for each chance level that differs; the random twins, `twins`, share one look.
    """
    groups = style.groups_in(table)
    width = style.PAGE_WIDTH / len(style.GROUP_LABELS)
    figure, axes = panels(len(groups), len(style.GROUP_LABELS), width, 2.4, xlabel="normalised depth")
    for panel, group in zip(axes, groups, strict=True):
        for level in sorted({chances[name] for name, _ in models}):
            style.chance_line(panel, level)
        _panel(panel, table[table["group"] == group], models, twins)
        panel.set_title(style.GROUP_LABELS[group])
    axes[0].set_ylabel("mean identifiability")
    of_twins = [style.line_entry(style.CONTROL, "random twins")] if twins else []
    legend_below(figure, [*style.model_entries(models), *of_twins, style.line_entry(style.CHANCE, "chance")])
    return figure


def _panel(axes: Axes, table: pd.DataFrame, models: style.Models, twins: Sequence[str]) -> None:
    for name in twins:
        rows = table[table["model"] == name]
        axes.plot(rows["position"], rows["mean"], **style.CONTROL)
    for index, (name, _) in enumerate(models):
        rows = table[table["model"] == name]
        style.interval_line(axes, rows["position"], rows, "mean", style.model_style(index))
    depth_axis(axes)
    axes.set(ylim=(-0.02, 1.03), yticks=style.SHARE_TICKS)
    axes.grid(visible=False, axis="x")
