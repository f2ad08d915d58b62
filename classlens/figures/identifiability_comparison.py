"""Mean identifiability over normalised depth, a line per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.columns import POSITIONS
from classlens.csvfile import read_table
from classlens.figures.layout import legend_below, panels
from classlens.figures.style import (
    GROUP_LABELS,
    PAGE_WIDTH,
    SHARE_TICKS,
    TWIN,
    chance_entry,
    chance_line,
    interval_band,
    model_style,
    save,
)


def identifiability_comparison(
    table: str,
    svg: str,
    png: str,
    models: Sequence[Sequence[str]],
    chances: Mapping[str, float],
    twins: Sequence[str],
) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.identifiability_comparison`, with a model column.
        models: name and label of each model, in display order.
        chances: by model, the mean identifiability of a random ranking; a line for each that differs.
        twins: names of the random twins, which share one look.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models, chances, twins), svg, png)


def _draw(
    numbers: pd.DataFrame, models: Sequence[Sequence[str]], chances: Mapping[str, float], twins: Sequence[str]
) -> Figure:
    groups = [group for group in GROUP_LABELS if group in set(numbers["group"])]
    width = PAGE_WIDTH / len(GROUP_LABELS)
    figure, axes = panels(len(groups), len(GROUP_LABELS), width, 2.4, xlabel="normalised depth")
    for panel, group in zip(axes, groups, strict=True):
        for level in sorted({chances[name] for name, _ in models}):
            chance_line(panel, level)
        _panel(panel, numbers[numbers["group"] == group], models, twins)
        panel.set_title(GROUP_LABELS[group])
    axes[0].set_ylabel("mean identifiability")
    lines: list[tuple[Artist, str]] = [
        (Line2D([], [], **model_style(index)), label) for index, (_, label) in enumerate(models)
    ]
    if twins:
        lines.append((Line2D([], [], **TWIN), "random twins"))
    legend_below(figure, [*lines, chance_entry("chance")])
    return figure


def _panel(axes: Axes, numbers: pd.DataFrame, models: Sequence[Sequence[str]], twins: Sequence[str]) -> None:
    for name in twins:
        rows = numbers[numbers["model"] == name]
        axes.plot(rows["position"], rows["mean"], **TWIN)
    for index, (name, _) in enumerate(models):
        rows = numbers[numbers["model"] == name]
        look = model_style(index)
        interval_band(axes, rows["position"], rows["ci_low"], rows["ci_high"], look["color"])
        axes.plot(rows["position"], rows["mean"], **look)
    axes.set_xlim(0.5, POSITIONS + 0.5)
    axes.set_xticks(range(2, POSITIONS + 1, 2))
    axes.set_ylim(-0.02, 1.03)
    axes.set_yticks(SHARE_TICKS)
    axes.grid(visible=False, axis="x")
