"""The look that all figures share: fonts, colours, chance lines, marks of significance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from seaborn import axes_style, color_palette

Look = dict[str, Any]
"""Keyword arguments of a matplotlib artist."""

FONT_SIZE = 8
"""Points, at the printed size: a figure is as wide as a page or a column."""
TITLE_SIZE = FONT_SIZE + 1
"""Of a title above all panels."""
PAGE_WIDTH = 7.0
"""Inches."""

PALETTE = tuple(color_palette("colorblind").as_hex()[index] for index in (0, 1, 2, 3, 4, 5, 9, 7))
"""Colour-blind-safe, without the two of seaborn's ten that are too pale for lines on white."""
BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, SKY, GREY = PALETTE
MODEL_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, SKY)
MODEL_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

GROUP_LABELS = {"cls": "[CLS]", "image": "image tokens"}
GROUP_COLOURS = {"cls": BLUE, "image": ORANGE}
BRANCH_LABELS = {"attn": "attention", "mlp": "MLP"}
BRANCH_COLOURS = {"attn": GREEN, "mlp": PURPLE}
PART_COLOURS = {"previous": SKY, "attn": GREEN, "mlp": PURPLE, "several": GREY, "composition": ORANGE}
LABEL_COLOURS = {"context": SKY, "class": RED}

CHANCE: Look = {"color": "0.25", "linestyle": (0, (4, 2)), "linewidth": 1.0, "zorder": 1.5}
TWIN: Look = {"color": "0.6", "linestyle": "-", "linewidth": 0.8}
RANDOM: Look = {"color": "0.45", "linestyle": "-", "linewidth": 1.2}
SIGNIFICANT: Look = {"marker": "*", "markersize": 5.0, "markeredgewidth": 0.0, "linestyle": "none"}
MARK_COLOUR = "0.15"
SHARE_TICKS = (0, 0.25, 0.5, 0.75, 1)
PERCENT_TICKS = (0, 25, 50, 75, 100)


def settings() -> Any:
    """Return matplotlib's settings for all figures."""
    return {
        **axes_style("whitegrid"),
        "font.family": "sans-serif",
        # Comes with matplotlib, so widths and bytes are the same on every machine.
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": FONT_SIZE,
        "axes.titlesize": FONT_SIZE,
        "axes.labelsize": FONT_SIZE,
        "figure.titlesize": TITLE_SIZE,
        "figure.labelsize": FONT_SIZE,
        "legend.fontsize": FONT_SIZE,
        "xtick.labelsize": FONT_SIZE - 1,
        "ytick.labelsize": FONT_SIZE - 1,
        "axes.linewidth": 0.8,
        "grid.linewidth": 0.5,
        "grid.color": "0.88",
        "lines.linewidth": 1.2,
        # Labels are the user's: a dollar sign is a dollar sign.
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "classlens",
        "savefig.dpi": 200,
    }


@contextmanager
def shared_style() -> Iterator[None]:
    """Draw in the shared style; no state of matplotlib's outlives it, and none of the user's settings reaches it."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings())
        yield


def save(draw: Callable[[], Figure], svg: str, png: str) -> None:
    """Draw a figure in the shared style and write it; the same numbers give the same bytes."""
    with shared_style():
        figure = draw()
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
        figure.savefig(png, metadata={"Software": None})


def chance_line(axes: Axes, value: float) -> None:
    """Draw a chance level across a panel."""
    axes.axhline(value, **CHANCE)


def chance_curve(axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike) -> None:
    """Draw a chance level that differs between blocks."""
    axes.plot(x, y, **CHANCE | {"zorder": 3})


def chance_of_model(axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike, colour: str) -> None:
    """Draw the chance level of one of several models, in its colour."""
    axes.plot(x, y, **CHANCE | {"color": colour})


def twin_curve(axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike) -> None:
    """Draw a random control."""
    axes.plot(x, y, **TWIN | {"zorder": 3})


def twin_entry(text: str) -> tuple[Artist, str]:
    """Return the legend entry of a random control."""
    return Line2D([], [], **TWIN), text


def chance_entry(text: str) -> tuple[Artist, str]:
    """Return the legend entry of a chance level."""
    return Line2D([], [], **CHANCE), text


def mark_significant(axes: Axes, x: Sequence[float], y: float, colour: str = MARK_COLOUR) -> None:
    """Put a star at each x; y is in data units and lies above all that is drawn."""
    if not len(x):
        return  # An empty artist that is not clipped would confuse the layout.
    axes.plot(x, [y] * len(x), color=colour, clip_on=False, zorder=4, **SIGNIFICANT)


def significance_entry(text: str) -> tuple[Artist, str]:
    """Return the legend entry of the stars."""
    return Line2D([], [], color=MARK_COLOUR, **SIGNIFICANT), text


def interval_band(axes: Axes, x: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, colour: str) -> None:
    """Draw the interval around a line."""
    axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)


def line_style(colour: str) -> Look:
    """Return the look of a line with a dot per block."""
    return {"color": colour, "marker": "o", "markersize": 3.0, "markeredgewidth": 0.0}


def interval_entry(colour: str, text: str) -> tuple[Artist, str]:
    """Return the legend entry of a line with its interval."""
    return Line2D([], [], **line_style(colour)), text


def model_style(index: int) -> Look:
    """Return the look of the n-th model's line; beyond the palette the line's dashes tell models apart."""
    turn, place = divmod(index, len(MODEL_COLOURS))
    return {
        "color": MODEL_COLOURS[place],
        "marker": MODEL_MARKERS[place],
        "markersize": 3.5,
        "markeredgewidth": 0.0,
        "linestyle": ("-", "--", ":", "-.")[turn % 4],
    }
