"""Key-value agreement of every class, a panel per model and branch."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.grids import branch_panels
from classlens.figures.layout import legend_below

DOT: style.Look = {"marker": "o", "markersize": 2.0, "markeredgewidth": 0.0, "linestyle": "none"}
MEAN = style.line_style("0.15")
FEW_CLASSES = 50
"""Dots of more classes are paler, since they lie on one another."""


def draw(table: pd.DataFrame, classes: pd.DataFrame, models: style.Models) -> Figure:
    """Draw the tables of `classlens.measures.key_value_agreement`, with a model column each."""
    by_panel = dict(iter(classes.groupby(["model", "branch"])))

    def panel(axes: Axes, rows: pd.DataFrame, branch: str) -> None:
        dots, blocks = by_panel[rows["model"].iloc[0], branch], rows["block"] + 1
        look = DOT | {
            "color": style.BRANCH_COLOURS[branch],
            "alpha": 0.7 if rows["classes"].iloc[0] <= FEW_CLASSES else 0.25,
        }
        # A dot per class and block would make the SVG huge, so dots are pixels.
        axes.plot(dots["block"] + 1, dots["rate_percent"], rasterized=True, **look)
        style.control_curve(axes, blocks, rows["control_percent"])
        style.chance_curve(axes, blocks, rows["chance_percent"])
        axes.plot(blocks, rows["mean_percent"], **MEAN)
        axes.set(ylim=(-3, 103), yticks=style.PERCENT_TICKS)

    figure = branch_panels(table, models, panel, "key-value agreement (%)")
    of_classes = [
        style.line_entry(DOT | {"color": style.BRANCH_COLOURS[branch], "markersize": 4}, f"a class, {text}")
        for branch, text in style.BRANCH_LABELS.items()
    ]
    controls = [style.line_entry(style.CONTROL, "with a random class"), style.line_entry(style.CHANCE, "chance")]
    legend_below(figure, [*of_classes, style.line_entry(MEAN, "mean over classes"), *controls])
    return figure
