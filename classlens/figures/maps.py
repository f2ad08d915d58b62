"""Maps of numbers in colours, with their colour bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from classlens.arrays import Array
from classlens.figures.style import MARK_COLOUR, Look

UNNAMED, GREYED = "0.92", "0.5"
WIDEST = 14
"""Characters of a word in a map."""


def signed_map(panel: Axes, values: Array, colours: str, label: str, **place: Any) -> None:
    """Draw values whose colours are equally strong on both sides of zero; `place` goes to matplotlib's `imshow`."""
    most = float(np.abs(values).max()) or 1.0
    look: Look = {"cmap": colours, "vmin": -most, "vmax": most, "aspect": "auto", "interpolation": "nearest"}
    _show(panel, values, label, **look, **place)


def word_map(panel: Axes, shares: Array, **place: Any) -> None:
    """Draw shares of heads' variance that their words explain (%), NaN where a head is not named."""
    panel.set_facecolor(UNNAMED)
    look: Look = {"cmap": "Blues", "vmin": 0, "vmax": 100, "aspect": "auto", "alpha": 0.8}
    _show(panel, shares, "variance explained (%)", **look, **place)


def _show(panel: Axes, values: Array, label: str, **look: Any) -> None:
    panel.figure.colorbar(panel.imshow(values, **look), ax=panel, label=label)
    panel.grid(visible=False)


def word_look(row: dict[Any, Any]) -> tuple[str, str]:
    """Return the word of a head as it fits into a map, and its colour there."""
    word = row["word"] if len(row["word"]) <= WIDEST else row["word"][: WIDEST - 1] + "…"
    return word, ("white" if row["share"] > 0.6 else MARK_COLOUR) if row["named"] else GREYED


def bar_below(figure: Figure, axes: Sequence[Axes] | Array, norm: Normalize, colours: str, label: str) -> None:
    """Put one colour bar below all panels."""
    place: Look = {"location": "bottom", "fraction": 0.03, "aspect": 50, "shrink": 0.6}
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=label, **place)
