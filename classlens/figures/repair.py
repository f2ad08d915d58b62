"""What replacing heads does to accuracy and to the worst group, on both halves of the images."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.layout import figure_title, legend_below, new_figure
from classlens.figures.style import BLUE, CHANCE, GREY, ORANGE, PAGE_WIDTH, RED, Look, line_entry

LEAST = 10
"""Points on either side of no change, at least."""
COLOURS = {"model": BLUE, "repaired": RED, "random": GREY}
WORST: Look = {"marker": "o", "markersize": 5.0, "markeredgewidth": 0.0, "linestyle": "none"}
EVERY: Look = {"marker": "s", "markersize": 4.0, "markeredgewidth": 0.0, "linestyle": "none"}


def draw(table: pd.DataFrame, label: str) -> Figure:
    """Draw the table of `classlens.measures.repair`."""
    figure = new_figure(PAGE_WIDTH, 3.4)
    figure_title(figure, label)
    grid = figure.subplots(2, 2, sharex="col", width_ratios=(3, 2))
    for (left, right), (half, rows) in zip(grid, table.groupby("half", sort=False), strict=True):
        _answers(left, rows)
        _changes(right, rows[rows["who"] != "model"])
        left.set_title(f"{half} half", loc="left")
        right.set_yticks([])
        for axes in (left, right):
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.grid(visible=False, axis="y")
    grid[1, 0].set_xlabel("accuracy (%)")
    grid[1, 1].set_xlabel("change of the worst group (points)")
    legend_below(
        figure,
        [line_entry(EVERY | {"color": ORANGE}, "all images"), line_entry(WORST | {"color": ORANGE}, "worst group")],
    )
    return figure


def _answers(axes: Axes, rows: pd.DataFrame) -> None:
    names = []
    for place, row in enumerate(rows.to_dict("records")):
        look: dict[str, Any] = {"color": COLOURS[row["who"]]}
        axes.plot(100 * row["accuracy"], place, **EVERY | look)
        axes.plot(100 * row["worst_group"], place, **WORST | look)
        heads = 0 if pd.isna(row["heads"]) else len(str(row["heads"]).split())
        said = f"{heads} head{'' if heads == 1 else 's'}"
        names.append(row["who"] if row["who"] == "model" else f"{row['who']} ({said})")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(-2, 102)


def _changes(axes: Axes, rows: pd.DataFrame) -> None:
    most = max(LEAST, 105 * float(rows[["ci_low", "ci_high"]].abs().to_numpy().max()))
    axes.set_xlim(-most, most)
    axes.axvline(0, **CHANCE)
    for place, row in enumerate(rows.to_dict("records"), start=1):
        change = 100 * row["change"]
        errors = [[change - 100 * row["ci_low"]], [100 * row["ci_high"] - change]]
        axes.errorbar(change, place, xerr=errors, elinewidth=0.9, **WORST | {"color": COLOURS[row["who"]]})
