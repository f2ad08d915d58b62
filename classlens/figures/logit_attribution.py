"""Who writes the correct class's output logit: branches by block, and every head."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from classlens.csvfile import read_table
from classlens.figures.layout import block_axes, figure_title, fitted, legend_below
from classlens.figures.style import (
    BRANCH_COLOURS,
    BRANCH_LABELS,
    GREY,
    MARK_COLOUR,
    ORANGE,
    PAGE_WIDTH,
    Look,
    save,
)
from classlens.terms import BRANCHES

COLOURS = "coolwarm"
SIDES = {"embedding": ORANGE, "constant": GREY}
"""What is in no block, at the side of the blocks."""
BAR = 0.4
"""Width of a bar, in blocks."""
HEIGHT = 2.6
"""Inches, without title and legend."""
MOST_HEADS = 12
"""That are numbered."""
PANEL = 2.6
"""Inches that a panel's title may take."""


def logit_attribution(table: str, svg: str, png: str, label: str) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.logit_attribution`.
        label: the model's.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, label), svg, png)


def _draw(numbers: pd.DataFrame, label: str) -> Figure:
    figure = Figure(figsize=(PAGE_WIDTH, HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure_title(figure, label)
    entries = _branches(left, numbers)
    _heads(right, numbers[numbers["part"] == "head"], figure)
    legend_below(figure, entries)
    return figure


def _branches(axes: Axes, numbers: pd.DataFrame) -> list[tuple[Artist, str]]:
    """Draw bars that add up to the logit."""
    entries: list[tuple[Artist, str]] = []
    blocks = numbers.loc[numbers["part"] == BRANCHES[0], "block"].to_numpy(dtype=int)
    for place, branch in enumerate(BRANCHES):
        rows = numbers[numbers["part"] == branch]
        x = rows["block"].to_numpy(dtype=float) + 1 + (place - 0.5) * BAR
        entries.append((_bars(axes, x, rows, BRANCH_COLOURS[branch]), BRANCH_LABELS[branch]))
    block_axes([axes], blocks)
    end = len(blocks) + 1
    # Each as wide as a block's two bars, at least so that it is seen beside many blocks.
    wide = max(1.0, len(blocks) / 12)
    for place, (part, colour) in enumerate(SIDES.items()):
        rows = numbers[numbers["part"] == part]
        x = np.array([end + (place + 0.5) * wide])
        entries.append((_bars(axes, x, rows, colour, 2 * BAR * wide), part))
    axes.set_xlim(0.4, end + (len(SIDES) + 0.1) * wide)
    axes.axhline(0, color=MARK_COLOUR, linewidth=0.8, zorder=3)
    total = float(numbers.loc[numbers["part"] == "logit", "mean"].iloc[0])
    axes.set_title(fitted(f"all bars add up to the mean logit, {total:.3g}", PANEL))
    axes.set_ylabel("contribution to the logit")
    axes.set_xlabel("block")
    return entries


def _bars(axes: Axes, x: np.ndarray, rows: pd.DataFrame, colour: str, width: float = BAR) -> Artist:
    look: Look = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.3}
    mean = rows["mean"].to_numpy(dtype=float)
    axes.bar(x, mean, width, zorder=2, **look)
    # Of a single image there is no interval, and nothing is drawn.
    axes.vlines(x, rows["ci_low"], rows["ci_high"], color=MARK_COLOUR, linewidth=0.7, zorder=3)
    return Patch(**look)


def _heads(axes: Axes, numbers: pd.DataFrame, figure: Figure) -> None:
    """Draw a map of blocks and heads."""
    values = numbers.pivot_table("mean", index="head", columns="block").to_numpy(dtype=float)
    heads, blocks = values.shape
    largest = float(np.abs(values).max()) or 1.0
    extent = (0.5, blocks + 0.5, 0.5, heads + 0.5)
    image = axes.imshow(
        values,
        cmap=COLOURS,
        vmin=-largest,
        vmax=largest,
        aspect="auto",
        origin="lower",
        extent=extent,
        interpolation="nearest",
    )
    block_axes([axes], range(blocks))
    axes.set_xlim(extent[:2])
    step = math.ceil(heads / MOST_HEADS)
    axes.set_yticks(range(step, heads + 1, step))
    axes.grid(visible=False)
    axes.set_title(fitted("heads, over all tokens", PANEL))
    axes.set_xlabel("block")
    axes.set_ylabel("head")
    figure.colorbar(image, ax=axes, label="contribution to the logit")
