"""Where a figure's texts are when it is drawn, and what is wrong with their places."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import combinations
from unittest.mock import patch

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from classlens.figures.style import settings

SMALLEST_PANEL = 0.5
"""Inches that a panel has to keep in both directions."""


def drawn(draw: Callable[[], Figure], dpi: float = 100) -> tuple[Figure, list[Text]]:
    """Draw a figure in the shared style, warnings being errors; return it and the texts that can be seen."""
    seen: list[Text] = []
    original = Text.draw

    def recording(text: Text, renderer, *arguments, **keywords):
        if text.get_visible() and text.get_text().strip():
            seen.append(text)
        return original(text, renderer, *arguments, **keywords)

    with matplotlib.rc_context(settings()), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        figure.dpi = dpi
        with patch.object(Text, "draw", recording):
            figure.canvas.draw()
    return figure, seen


def misplaced(figure: Figure, texts: list[Text]) -> list[str]:
    """Tell which texts leave the figure, cover each other or a panel, and which panels are squeezed.

    Names of what a panel shows lie on it, and may cover each other; a colour bar is thin.
    """
    places = [(text.get_text(), text.get_window_extent()) for text in texts]
    panels = [axes.get_window_extent() for axes in figure.axes]
    legends = [
        legend.get_window_extent() for legend in (*figure.legends, *(a.get_legend() for a in figure.axes)) if legend
    ]
    found = [f"{text!r} is clipped" for text, place in places if not inside(place, figure.bbox)]
    found += ["a legend is clipped" for legend in legends if not inside(legend, figure.bbox)]
    named = {text.get_text() for axes in figure.axes for text in axes.texts}
    pairs = [pair for pair in combinations(places, 2) if not {text for text, _ in pair} <= named]
    found += [f"{a!r} covers {b!r}" for (a, one), (b, other) in pairs if overlap(one, other)]
    outside = [(text, place) for text, place in places if text not in named]
    found += [f"{text!r} covers a panel" for text, place in outside for panel in panels if overlap(place, panel)]
    smallest = SMALLEST_PANEL * figure.dpi
    bars = [axes.get_label() == "<colorbar>" for axes in figure.axes]
    sizes = [panel.size for panel, bar in zip(panels, bars, strict=True) if not bar]
    found += [f"panel of {size} pixels" for size in sizes if size.min() < smallest]
    return found


def overlap(one: Bbox, other: Bbox, allowed: float = 1) -> bool:
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    up = min(one.y1, other.y1) - max(one.y0, other.y0)
    return across > allowed and up > allowed


def inside(one: Bbox, whole: Bbox, allowed: float = 1) -> bool:
    return (
        one.x0 >= whole.x0 - allowed
        and one.y0 >= whole.y0 - allowed
        and one.x1 <= whole.x1 + allowed
        and one.y1 <= whole.y1 + allowed
    )
