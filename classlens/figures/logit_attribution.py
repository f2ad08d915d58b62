"""Who writes the correct class's output logit: branches by block, and every head."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from classlens.figures import style
from classlens.figures.layout import block_axes, figure_title, fitted, legend_below, new_figure
from classlens.figures.maps import signed_map
from classlens.terms import BRANCHES

COLOURS = "coolwarm"
SIDES = {"embedding": style.ORANGE, "constant": style.GREY}
"""What is in no block, at the side of the blocks."""
BAR = 0.4
"""Width of a bar, in blocks."""
HEIGHT = 2.6
"""Inches, without title and legend."""
MOST_HEADS = 12
"""That are numbered."""
PANEL = 2.6
"""Inches that a panel's title may take."""


def draw(table: pd.DataFrame, label: str) -> Figure:
    """Draw the table of `classlens.measures.logit_attribution`."""
    figure = new_figure(style.PAGE_WIDTH, HEIGHT)
    left, right = figure.subplots(1, 2)
    figure_title(figure, label)
    entries = _branches(left, table)
    _heads(right, table[table["part"] == "head"])
    legend_below(figure, entries)
    return figure


def _branches(axes: Axes, table: pd.DataFrame) -> list[style.Entry]:
    """Draw bars that add up to the logit."""
    entries: list[style.Entry] = []
    blocks = table.loc[table["part"] == BRANCHES[0], "block"].to_numpy(dtype=int)
    for place, branch in enumerate(BRANCHES):
        rows = table[table["part"] == branch]
        x = rows["block"].to_numpy(dtype=float) + 1 + (place - 0.5) * BAR
        entries.append(_bars(axes, x, rows, style.BRANCH_COLOURS[branch], style.BRANCH_LABELS[branch]))
    block_axes([axes], blocks)
    end = len(blocks) + 1
    # Each as wide as a block's two bars, or wider, so that it is seen beside many blocks.
    wide = max(1.0, len(blocks) / 12)
    for place, (part, colour) in enumerate(SIDES.items()):
        x = np.array([end + (place + 0.5) * wide])
        entries.append(_bars(axes, x, table[table["part"] == part], colour, part, 2 * BAR * wide))
    axes.set_xlim(0.4, end + (len(SIDES) + 0.1) * wide)
    axes.axhline(0, color=style.MARK_COLOUR, linewidth=0.8, zorder=3)
    total = float(table.loc[table["part"] == "logit", "mean"].iloc[0])
    axes.set_title(fitted(f"all bars add up to the mean logit, {total:.3g}", PANEL))
    axes.set(xlabel="block", ylabel="contribution to the logit")
    return entries


def _bars(axes: Axes, x: np.ndarray, rows: pd.DataFrame, colour: str, text: str, width: float = BAR) -> style.Entry:
    look: style.Look = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.3}
    mean = rows["mean"].to_numpy(dtype=float)
    axes.bar(x, mean, width, zorder=2, **look)
    # Of a single image there is no interval, and nothing is drawn.
    axes.vlines(x, rows["ci_low"], rows["ci_high"], color=style.MARK_COLOUR, linewidth=0.7, zorder=3)
    return Patch(**look), text


def _heads(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a map of blocks and heads."""
    values = rows.pivot_table("mean", index="head", columns="block").to_numpy(dtype=float)
    heads, blocks = values.shape
    extent = (0.5, blocks + 0.5, 0.5, heads + 0.5)
    signed_map(axes, values, COLOURS, "contribution to the logit", origin="lower", extent=extent)
    block_axes([axes], range(blocks))
    axes.set_xlim(0.5, blocks + 0.5)
    step = math.ceil(heads / MOST_HEADS)
    axes.set_yticks(range(step, heads + 1, step))
    axes.set(title=fitted("heads, over all tokens", PANEL), xlabel="block", ylabel="head")
