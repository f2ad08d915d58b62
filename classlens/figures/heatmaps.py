"""Importance of image tokens over the photo, for the correct class and a second one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from classlens.arrays import Array
from classlens.figures.importance import lowest, opacity, palette, shares
from classlens.figures.layout import class_namer, figure_title, fitted, new_figure
from classlens.figures.maps import bar_below
from classlens.figures.style import PAGE_WIDTH
from classlens.photos import as_colours

SIDE_BY_SIDE = 2
"""Images in a row of the figure."""
ROLES, MAPS = ("true", "second"), ("all", "one")


def draw(
    table: pd.DataFrame,
    pixels: Mapping[str, Any],
    stimuli: pd.DataFrame,
    label: str,
    block: int,
    head: int,
    *,
    signed: bool,
) -> Figure:
    """Draw the table of `classlens.explanations.heatmaps`.

    Args:
        pixels: the open pixel file of the evaluation images, or another mapping with `pixels`: by image, (H, W, 3).
        stimuli: names of classes, in the columns class_index and class_name.
        block, head: of the single maps, from 0.
        signed: importance can be evidence against a class, too.
    """
    photos = {int(image): as_colours(pixels["pixels"][int(image)]) for image in table["image"].unique()}
    name = class_namer(stimuli)
    columns = min(SIDE_BY_SIDE, len(photos))
    strips = -(-len(photos) // columns)
    side = PAGE_WIDTH / (SIDE_BY_SIDE * (1 + len(ROLES)))
    width = side * columns * (1 + len(ROLES))
    figure = new_figure(max(width, PAGE_WIDTH / 2), strips * 2.45 * (side + 0.1) + 0.7)
    grid = figure.subplots(strips * len(MAPS), columns * (1 + len(ROLES)), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (image, photo) in enumerate(photos.items()):
        top, left = len(MAPS) * (place // columns), (1 + len(ROLES)) * (place % columns)
        of_image = table[table["image"] == image]
        grid[top, left].imshow(photo)
        grid[top, left].set_title(f"image {image}")
        for column, role in enumerate(ROLES, start=1):
            of_role = of_image[of_image["role"] == role]
            index = int(of_role["class_index"].iloc[0])
            grid[top, left + column].set_title(fitted(name(index), side))
            for row, of in enumerate(MAPS):
                _overlay(grid[top + row, left + column], photo, of_role[of_role["map"] == of], signed=signed)
        single = fitted(f"block {block + 1}, head {head + 1}", side)
        grid[top + 1, left].text(0.5, 0.5, single, ha="center", va="center")
    norm = Normalize(lowest(signed=signed), 1)
    bar_below(figure, grid, norm, palette(signed=signed), "importance, as a share of the map's largest")
    figure_title(figure, label)
    return figure


def _overlay(axes: Axes, photo: Array, of_map: pd.DataFrame, *, signed: bool) -> None:
    rows, columns = of_map["row"].max() + 1, of_map["column"].max() + 1
    values = np.zeros((rows, columns))
    values[of_map["row"], of_map["column"]] = of_map["importance"]
    found = shares(values)
    axes.imshow(photo)
    axes.imshow(
        found,
        cmap=palette(signed=signed),
        vmin=lowest(signed=signed),
        vmax=1,
        alpha=opacity(found, signed=signed),
        extent=(-0.5, photo.shape[1] - 0.5, photo.shape[0] - 0.5, -0.5),
        interpolation="nearest",
    )
