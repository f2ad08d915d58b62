"""Panels in a grid, ticks, titles and legends that fit whatever the number of models and blocks."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.textpath import text_to_path

from classlens.columns import POSITIONS
from classlens.figures.style import FONT_SIZE, TITLE_SIZE, Entry

NARROW = 0.25
"""Width of a narrow character, as a share of the font size."""
HINTING = 0.92
"""Letters are fitted to pixels, which makes a text up to a twelfth longer."""
LINE_HEIGHT = 1.35 * FONT_SIZE / 72
"""Inches."""
LEFT = 0.65
"""Inches that numbers and name of the y axis take."""
LEGEND_HANDLES = 0.8
"""Inches of a legend's width that are not text."""


def class_namer(stimuli: pd.DataFrame) -> Callable[[int], str]:
    """Return what a figure calls a class of an index, by the columns class_index and class_name."""
    names = dict(zip(stimuli["class_index"], stimuli["class_name"].fillna(""), strict=True))
    return lambda index: str(names.get(index, f"class {index}"))


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches, whose parts are kept from lying on one another."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(
    count: int, columns: int, width: float, height: float, xlabel: str = "", sharex: Any = True, sharey: Any = True
) -> tuple[Figure, list[Axes]]:
    """Make a figure with a grid of equal panels, and return it with its panels, row by row.

    Args:
        count: panels; those of the last row that are left over are not made.
        columns: at most so many side by side.
        width, height: of one panel in inches, with its share of labels.
        xlabel: goes below the lowest panel of each column, as the ticks do.
        sharex, sharey: which panels share an axis, see matplotlib's `subplots`.
    """
    columns = max(1, min(count, columns))
    rows = max(1, math.ceil(count / columns))
    figure = new_figure(width * columns, height * rows)
    grid = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    axes = list(grid.flat)
    for empty in axes[count:]:
        empty.remove()
    for index, panel in enumerate(axes[:count]):
        lowest = index + columns >= count
        panel.tick_params(labelbottom=lowest, labelleft=index % columns == 0)
        panel.set_xlabel(xlabel if lowest else "")
    return figure, axes[:count]


def block_axes(axes: Sequence[Axes], blocks: npt.ArrayLike, most: int = 12) -> None:
    """Number the x axis of panels by blocks counted from 1.

    Args:
        blocks: counted from 0, as tables do, in any order; they lie at their number from 1. None where the only block
            of a model has no block before it.
        most: at most so many numbers.
    """
    numbers = np.unique(np.asarray(blocks, dtype=int)) + 1
    step = max(1, math.ceil(len(numbers) / most))
    ticks = numbers if step == 1 else numbers[numbers % step == 0]
    axes[0].set_xticks(ticks, [str(tick) for tick in ticks])
    if len(numbers):
        axes[0].set_xlim(numbers[0] - 0.6, numbers[-1] + 0.6)
    for panel in axes:
        panel.grid(visible=False, axis="x")


def depth_axis(axes: Axes) -> None:
    """Make the x axis of a panel normalised depth."""
    axes.set(xlim=(0.5, POSITIONS + 0.5), xticks=range(2, POSITIONS + 1, 2))


def fitted(text: str, inches: float, size: float = FONT_SIZE) -> str:
    """Break a text of a font size into lines that fit a width."""
    font, points = FontProperties(size=size), 72 * HINTING * inches
    most = math.ceil(points / (NARROW * size))
    for characters in range(min(len(text), most), 0, -1):
        lines = textwrap.wrap(text, characters)
        widths = (text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] for line in lines)
        if all(width <= points for width in widths):
            return "\n".join(lines)
    return text


def panel_titles(figure: Figure, axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Put titles above panels; the figure grows by the lines beyond the first, so that panels do not shrink."""
    places = [panel.get_subplotspec() for panel in axes]
    columns = max(place.colspan.stop for place in places if place)
    room = (figure.get_figwidth() - LEFT) / columns
    lines: dict[int, int] = {}
    for panel, place, title in zip(axes, places, titles, strict=True):
        text = fitted(title, room)
        panel.set_title(text)
        row = place.rowspan.start if place else 0
        lines[row] = max(lines.get(row, 0), text.count("\n"))
    _grow(figure, sum(lines.values()) * LINE_HEIGHT)


def figure_title(figure: Figure, title: str) -> None:
    """Put a title above all panels; the figure grows by it."""
    text = fitted(title, figure.get_figwidth(), TITLE_SIZE)
    figure.suptitle(text)
    _grow(figure, text.count("\n") * LINE_HEIGHT * TITLE_SIZE / FONT_SIZE)


def _grow(figure: Figure, inches: float) -> None:
    figure.set_figheight(figure.get_figheight() + inches)


def legend_below(figure: Figure, entries: Sequence[Entry]) -> Legend:
    """Put the one legend below all panels, in as many columns as fit the figure's width; the figure grows by it."""
    width, handles = figure.get_figwidth(), [handle for handle, _ in entries]
    texts = [fitted(text, width - LEGEND_HANDLES) for _, text in entries]
    for columns in range(len(entries), 0, -1):
        legend = figure.legend(handles, texts, loc="outside lower center", ncols=columns, frameon=False)
        drawn = legend.get_window_extent()
        if drawn.width <= width * figure.dpi or columns == 1:
            _grow(figure, drawn.height / figure.dpi)
            return legend
        legend.remove()
    raise ValueError("a legend needs entries")


def panel_legend(axes: Axes, entries: Sequence[Entry], columns: int) -> Legend:
    """Put a panel's own legend below it."""
    handles, texts = [handle for handle, _ in entries], [text for _, text in entries]
    return axes.legend(handles, texts, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, frameon=False)
