"""The look that all figures share: fonts, colours, chance lines, marks of significance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from seaborn import axes_style, color_palette

Look = dict[str, Any]
"""Keyword arguments of a matplotlib artist."""
Entry = tuple[Artist, str]
"""Of a legend."""
Models = Sequence[Sequence[str]]
"""Name and label of each model, in display order."""
Chances = Mapping[str, float]
"""By model, the mean identifiability of a random ranking."""
Twins = Mapping[str, str]
"""By model, the name of its random twin."""
MethodLabels = Mapping[str, str]
"""By name of every explanation there is, in their order, which decides their looks."""

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
GROUP_LINES = {"cls": "-", "image": "--"}
BRANCH_LABELS = {"attn": "attention", "mlp": "MLP"}
BRANCH_COLOURS = {"attn": GREEN, "mlp": PURPLE}
PART_COLOURS = {"previous": SKY, "attn": GREEN, "mlp": PURPLE, "several": GREY, "composition": ORANGE}
LABEL_COLOURS = {"context": SKY, "class": RED}

CHANCE: Look = {"color": "0.25", "linestyle": (0, (4, 2)), "linewidth": 1.0, "zorder": 1.5}
CONTROL: Look = {"color": "0.6", "linestyle": "-", "linewidth": 0.8}
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


def chance_line(axes: Axes, value: float) -> None:
    """Draw a chance level across a panel."""
    axes.axhline(value, **CHANCE)


def chance_curve(axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike) -> None:
    """Draw a chance level that differs between blocks."""
    axes.plot(x, y, **CHANCE | {"zorder": 3})


def control_curve(axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike) -> None:
    """Draw a random control."""
    axes.plot(x, y, **CONTROL | {"zorder": 3})


def interval_band(axes: Axes, x: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, colour: str) -> None:
    """Draw the interval around a line."""
    axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)


def interval_line(axes: Axes, x: npt.ArrayLike, rows: pd.DataFrame, value: str, look: Look, prefix: str = "") -> None:
    """Draw a column of a table as a line, with a band between the columns `prefix`ci_low and `prefix`ci_high."""
    interval_band(axes, x, rows[f"{prefix}ci_low"], rows[f"{prefix}ci_high"], look["color"])
    axes.plot(x, rows[value], **look)


def mark_significant(
    axes: Axes, x: npt.ArrayLike, significant: npt.ArrayLike, y: float, colour: str = MARK_COLOUR
) -> None:
    """Put a star at each x that is significant; y is in data units and lies above all that is drawn."""
    marked = np.asarray(x)[np.asarray(significant, dtype=bool)]
    if len(marked):  # An empty artist that is not clipped would confuse the layout.
        axes.plot(marked, [y] * len(marked), color=colour, clip_on=False, zorder=4, **SIGNIFICANT)


def line_style(colour: str) -> Look:
    """Return the look of a line with a dot per block."""
    return {"color": colour, "marker": "o", "markersize": 3.0, "markeredgewidth": 0.0}


def group_line(colour: str, group: str) -> Look:
    """Return the look of a line of a group of tokens."""
    return line_style(colour) | {"linestyle": GROUP_LINES[group]}


def groups_in(table: pd.DataFrame) -> list[str]:
    """Return the groups of tokens that a table has, [CLS] first."""
    return [group for group in GROUP_LABELS if group in set(table["group"])]


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


def line_entry(look: Look, text: str) -> Entry:
    """Return the legend entry of a line, a chance level (`CHANCE`) or a random control (`CONTROL`)."""
    return Line2D([], [], **look), text


def branch_entries() -> list[Entry]:
    """Return the legend entries of the lines of both branches."""
    return [line_entry(line_style(BRANCH_COLOURS[branch]), text) for branch, text in BRANCH_LABELS.items()]


def model_entries(models: Models) -> list[Entry]:
    """Return the legend entries of a line per model."""
    return [line_entry(model_style(index), label) for index, (_, label) in enumerate(models)]


def significance_entries(significant: pd.Series, text: str) -> list[Entry]:
    """Return the legend entry of the stars, if there are any."""
    return [line_entry(SIGNIFICANT | {"color": MARK_COLOUR}, text)] if significant.any() else []
