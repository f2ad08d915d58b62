"""How the branches of one model's blocks build the class representation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from classlens.columns import PARTS
from classlens.csvfile import read_table
from classlens.figures.layout import block_axes, figure_title, panel_legend, panels
from classlens.figures.style import (
    BRANCH_COLOURS,
    BRANCH_LABELS,
    GROUP_LABELS,
    PAGE_WIDTH,
    PART_COLOURS,
    PERCENT_TICKS,
    Look,
    chance_entry,
    chance_line,
    interval_band,
    line_style,
    save,
)
from classlens.terms import BRANCHES

HALF = 50
GROUP_LINES = {"cls": "-", "image": "--"}
PART_LABELS = {
    "previous": "previous block",
    "attn": "attention",
    "mlp": "MLP",
    "several": "several of them",
    "composition": "composition",
}


def class_building(table: str, svg: str, png: str, label: str) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.class_building`.
        label: the model's.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, label), svg, png)


def _draw(numbers: pd.DataFrame, label: str) -> Figure:
    figure, (left, right) = panels(2, 2, PAGE_WIDTH / 2, 3.2, xlabel="block")
    figure_title(figure, label)
    entries = _change(left, numbers[numbers["measure"] == "change"])
    panel_legend(left, entries, columns=2)
    parts = _composition(right, numbers[numbers["measure"] == "partition"])
    panel_legend(right, parts, columns=2)
    block_axes([left, right], numbers["block"])
    for axes in (left, right):
        axes.set_ylim(0, 100)
        axes.set_yticks(PERCENT_TICKS)
    return figure


def _change(axes: Axes, numbers: pd.DataFrame) -> list[tuple[Artist, str]]:
    axes.set_title("class similarity change rate")
    axes.set_ylabel("tokens (%)")
    chance_line(axes, HALF)
    entries: list[tuple[Artist, str]] = []
    for branch in BRANCHES:
        for group, dashes in GROUP_LINES.items():
            rows = numbers[(numbers["part"] == branch) & (numbers["group"] == group)]
            if rows.empty:
                continue
            look = line_style(BRANCH_COLOURS[branch]) | {"linestyle": dashes}
            interval_band(axes, rows["block"] + 1, rows["ci_low"], rows["ci_high"], BRANCH_COLOURS[branch])
            axes.plot(rows["block"] + 1, rows["percent"], **look)
            entries.append((Line2D([], [], **look), f"{BRANCH_LABELS[branch]}, {GROUP_LABELS[group]}"))
    return [*entries, chance_entry("half of the tokens")]


def _composition(axes: Axes, numbers: pd.DataFrame) -> list[tuple[Artist, str]]:
    axes.set_title("top class of the residual comes from")
    entries: list[tuple[Artist, str]] = []
    bottom = np.zeros(numbers["block"].nunique())
    for part in PARTS:
        rows = numbers[numbers["part"] == part].sort_values("block")
        look: Look = {"facecolor": PART_COLOURS[part], "edgecolor": "white", "linewidth": 0.4}
        heights = rows["percent"].to_numpy(dtype=float)
        axes.bar(rows["block"] + 1, heights, bottom=bottom, width=0.8, zorder=2, **look)
        bottom = bottom + heights
        entries.append((Patch(**look), PART_LABELS[part]))
    return entries
