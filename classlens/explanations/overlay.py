"""Importance of image tokens over a photo."""

from __future__ import annotations

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from classlens.arrays import Array
from classlens.figures.importance import colours, lowest, palette
from classlens.figures.layout import figure_title, new_figure
from classlens.figures.style import PAGE_WIDTH, shared_style
from classlens.models.crop import Box

DIMMED = 0.5
"""Brightness of what the model was not shown."""


def overlay(photo: Image.Image, importance: Array, box: Box, *, signed: bool) -> Image.Image:
    """Return an RGB photo in its own size with importance (rows, columns) over it; outside of the map it is dimmed.

    Args:
        box: where the map lies on the photo.
        signed: see `Method.signed`.
    """
    left, top, right, bottom = box
    rows, columns = importance.shape
    across, down = columns / (right - left), rows / (bottom - top)
    place = (across, 0, -left * across, 0, down, -top * down)

    def laid(cells: Array) -> Image.Image:
        return Image.fromarray(cells).transform(photo.size, Image.Transform.AFFINE, place, Image.Resampling.NEAREST)

    inside = laid(np.full((rows, columns), 255, np.uint8))
    shown = Image.composite(photo, photo.point(lambda value: DIMMED * value), inside).convert("RGBA")
    return Image.alpha_composite(shown, laid(colours(importance, signed=signed))).convert("RGB")


def draw(shown: Image.Image, *, signed: bool, title: str) -> Figure:
    """Draw what `overlay` made, with the scale of its colours."""
    with shared_style():
        width = PAGE_WIDTH / 2
        figure = new_figure(width, width * min(3, shown.height / shown.width) + 0.6)
        axes = figure.subplots()
        axes.imshow(shown)
        axes.set_axis_off()
        scale = ScalarMappable(Normalize(lowest(signed=signed), 1), palette(signed=signed))
        bar = figure.colorbar(scale, ax=axes, location="bottom", fraction=0.05, shrink=0.8)
        bar.set_label("importance, as a share of the map's largest")
        if title:
            figure_title(figure, title)
    return figure
