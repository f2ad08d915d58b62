"""How the branches of one model's blocks build the class representation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from classlens.columns import PARTS
from classlens.figures import style
from classlens.figures.layout import block_axes, figure_title, panel_legend, panels
from classlens.terms import BRANCHES

HALF = 50
PART_LABELS = {
    "previous": "previous block",
    "attn": "attention",
    "mlp": "MLP",
    "several": "several of them",
    "composition": "composition",
}


def draw(table: pd.DataFrame, label: str) -> Figure:
    """Draw the table of `classlens.measures.class_building`."""
    figure, (left, right) = panels(2, 2, style.PAGE_WIDTH / 2, 3.2, xlabel="block")
    figure_title(figure, label)
    panel_legend(left, _change(left, table[table["measure"] == "change"]), columns=2)
    panel_legend(right, _composition(right, table[table["measure"] == "partition"]), columns=2)
    block_axes([left, right], table["block"])
    for axes in (left, right):
        axes.set(ylim=(0, 100), yticks=style.PERCENT_TICKS)
    return figure


def _change(axes: Axes, rows: pd.DataFrame) -> list[style.Entry]:
    axes.set(title="class similarity change rate", ylabel="tokens (%)")
    style.chance_line(axes, HALF)
    entries: list[style.Entry] = []
    for branch in BRANCHES:
        for group in style.GROUP_LINES:
            own = rows[(rows["part"] == branch) & (rows["group"] == group)]
            if not own.empty:
                look = style.group_line(style.BRANCH_COLOURS[branch], group)
                style.interval_line(axes, own["block"] + 1, own, "percent", look)
                entries.append(style.line_entry(look, f"{style.BRANCH_LABELS[branch]}, {style.GROUP_LABELS[group]}"))
    return [*entries, style.line_entry(style.CHANCE, "half of the tokens")]


def _composition(axes: Axes, rows: pd.DataFrame) -> list[style.Entry]:
    axes.set_title("top class of the residual comes from")
    entries: list[style.Entry] = []
    bottom = np.zeros(rows["block"].nunique())
    for part in PARTS:
        own = rows[rows["part"] == part].sort_values("block")
        look: style.Look = {"facecolor": style.PART_COLOURS[part], "edgecolor": "white", "linewidth": 0.4}
        heights = own["percent"].to_numpy(dtype=float)
        axes.bar(own["block"] + 1, heights, bottom=bottom, width=0.8, zorder=2, **look)
        bottom = bottom + heights
        entries.append((Patch(**look), PART_LABELS[part]))
    return entries
