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


def panels(
    count: int, columns: int, width: float, height: float, extra: float = 0.0, xlabel: str = ""
) -> tuple[Figure, list[Axes]]:
    """Make a figure with a grid of equal panels that share both axes.

    Args:
        count: panels; those of the last row that are left over are not made.
        columns: at most so many side by side.
        width, height: of one panel in inches, with its share of labels.
        extra: more inches of height, for a legend.
        xlabel: goes below the lowest panel of each column, as the ticks do.

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
        lowest = index + columns >= count
        panel.tick_params(labelbottom=lowest, labelleft=index % columns == 0)
        panel.set_xlabel(xlabel if lowest else "")
    return figure, axes[:count]


def block_axes(axes: Sequence[Axes], first: int, last: int, most: int = 12) -> None:
    """Number the x axis of panels by blocks counted from 1.

    Args:
        first, last: blocks counted from 0, as tables do; they lie at their number from 1.
        most: at most so many numbers.
    """
    numbers = np.arange(first + 1, last + 2)
    step = max(1, math.ceil(len(numbers) / most))
    ticks = numbers if step == 1 else numbers[numbers % step == 0]
    axes[0].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[0].set_xlim(first + 0.4, last + 1.6)
    for panel in axes:
        panel.grid(visible=False, axis="x")


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


def panel_legend(axes: Axes, entries: Sequence[tuple[Artist, str]], columns: int) -> Legend:
    """Put a panel's own legend below it."""
    handles, texts = [handle for handle, _ in entries], [text for _, text in entries]
    return axes.legend(handles, texts, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, frameon=False)
