"""Key-value agreement of every class, a panel per model and branch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.csvfile import read_table
from classlens.figures.branches import branch_panels
from classlens.figures.layout import legend_below
from classlens.figures.style import (
    BRANCH_COLOURS,
    BRANCH_LABELS,
    PERCENT_TICKS,
    Look,
    chance_curve,
    chance_entry,
    line_style,
    save,
    twin_curve,
    twin_entry,
)

DOT: Look = {"marker": "o", "markersize": 2.0, "markeredgewidth": 0.0, "linestyle": "none"}
FEW_CLASSES = 50
"""Dots of more classes are paler, since they lie on one another."""


def key_value_agreement(table: str, classes: str, svg: str, png: str, models: Sequence[Sequence[str]]) -> None:
    """Draw the figure.

    Args:
        table, classes: see `classlens.measures.key_value_agreement`, with a model column each.
        models: name and label of each model, in display order.
    """
    means, dots = read_table(table), read_table(classes)
    save(lambda: _draw(means, dots, models), svg, png)


def _draw(means: pd.DataFrame, dots: pd.DataFrame, models: Sequence[Sequence[str]]) -> Figure:
    by_panel = dict(iter(dots.groupby(["model", "branch"])))

    def panel(axes: Axes, rows: pd.DataFrame, branch: str) -> None:
        of_classes = by_panel[rows["model"].iloc[0], branch]
        look = DOT | {"color": BRANCH_COLOURS[branch], "alpha": 0.7 if rows["classes"].iloc[0] <= FEW_CLASSES else 0.25}
        blocks = rows["block"] + 1
        # A dot per class and block would make the SVG huge, so dots are pixels.
        axes.plot(of_classes["block"] + 1, of_classes["rate_percent"], rasterized=True, **look)
        twin_curve(axes, blocks, rows["control_percent"])
        chance_curve(axes, blocks, rows["chance_percent"])
        axes.plot(blocks, rows["mean_percent"], **line_style("0.15"))
        axes.set_ylim(-3, 103)
        axes.set_yticks(PERCENT_TICKS)

    figure = branch_panels(means, models, panel, "key-value agreement (%)")
    classes = [
        (Line2D([], [], color=BRANCH_COLOURS[branch], **DOT | {"markersize": 4}), f"a class, {text}")
        for branch, text in BRANCH_LABELS.items()
    ]
    mean = (Line2D([], [], **line_style("0.15")), "mean over classes")
    legend_below(figure, [*classes, mean, twin_entry("with a random class"), chance_entry("chance")])
    return figure
