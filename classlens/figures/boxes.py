"""Box plots from the five numbers that tables hold; the tokens themselves are not needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from classlens.columns import BOX_COLUMNS
from classlens.figures.style import Entry, Look

MATPLOTLIB_NAMES = dict(zip(BOX_COLUMNS, ("whislo", "q1", "med", "q3", "whishi"), strict=True))
LINE: Look = {"linewidth": 0.7, "color": "0.2"}
MEDIAN: Look = {"linewidth": 1.2, "color": "0.1"}


def draw_boxes(
    axes: Axes, table: pd.DataFrame, positions: Iterable[float], colour: str, width: float, prefix: str = ""
) -> None:
    """Draw a box without fliers for each row of a table.

    Args:
        table: with the columns of `BOX_COLUMNS`, `prefix` in front of each name. A row of NaN has no box.
        positions: centres on the x axis.
        width: of a box, in units of the x axis.
    """
    renamed = table.rename(columns={prefix + name: short for name, short in MATPLOTLIB_NAMES.items()})
    numbers: list[dict[str, Any]] = renamed[list(MATPLOTLIB_NAMES.values())].to_dict("records")  # type: ignore[assignment]
    drawn = [(box, position) for box, position in zip(numbers, positions, strict=True) if pd.notna(box["med"])]
    axes.bxp(
        [box for box, _ in drawn],
        positions=[position for _, position in drawn],
        widths=width,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"linewidth": LINE["linewidth"], "edgecolor": LINE["color"], "facecolor": colour},
        medianprops=MEDIAN,
        whiskerprops=LINE,
        capprops=LINE,
    )


def box_entry(colour: str, text: str) -> Entry:
    """Return a legend entry for boxes of a colour."""
    return Patch(facecolor=colour, edgecolor=str(LINE["color"]), linewidth=0.7), text
