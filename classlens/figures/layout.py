"""Panels in a grid, ticks, titles and legends that fit whatever the number of models and blocks."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from classlens.figures.style import FONT_SIZE

Array = npt.NDArray[Any]

CHARACTER = 0.62 * FONT_SIZE / 72
"""Width of a typical character in inches; a little generous."""


def panels(count: int, columns: int, width: float, height: float, extra: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Make a figure with a grid of equal panels that share both axes.

    Args:
        count: panels; those of the last row that are left over are not made.
        columns: at most so many side by side.
        width, height: of one panel in inches, with its share of labels.
        extra: more inches of height, for a legend.

    Returns:
        The figure and its panels, row by row.
    """
    columns = max(1, min(count, columns))
    rows = max(1, math.ceil(count / columns))
    figure = Figure(figsize=(width * columns, height * rows + extra), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for empty in axes[count:]:
        empty.remove()
    for index, panel in enumerate(axes[:count]):
        # The lowest panel of each column carries the ticks, also where the last row is not full.
        panel.tick_params(labelbottom=index + columns >= count, labelleft=index % columns == 0)
    return figure, axes[:count]


def block_axis(axes: Axes, first: int, last: int, most: int = 12) -> None:
    """Number the x axis by blocks counted from 1.

    Args:
        first, last: blocks counted from 0, as tables do; they lie at their number from 1.
        most: at most so many numbers.
    """
    numbers = np.arange(first + 1, last + 2)
    step = max(1, math.ceil(len(numbers) / most))
    ticks = numbers if step == 1 else numbers[numbers % step == 0]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlim(first + 0.4, last + 1.6)
    axes.grid(visible=False, axis="x")


def fitted(text: str, inches: float) -> str:
    """Break a text into lines that fit a width."""
    width = max(8, int(inches / CHARACTER))
    return "\n".join(textwrap.wrap(text, width)) or text


def legend_below(figure: Figure, entries: Sequence[tuple[Artist, str]]) -> Legend:
    """Put the one legend below all panels, in as many columns as fit the figure's width."""
    handles = [handle for handle, _ in entries]
    width = figure.get_figwidth()
    texts = [fitted(text, width - 0.8) for _, text in entries]
    for columns in range(len(entries), 0, -1):
        legend = figure.legend(handles, texts, loc="outside lower center", ncols=columns, frameon=False)
        drawn = legend.get_window_extent().width / figure.dpi
        if drawn <= width or columns == 1:
            return legend
        legend.remove()
    raise ValueError("a legend needs entries")
