"""Importance of image tokens over the photo, for the correct class and a second one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from classlens.arrays import Array
from classlens.csvfile import read_table
from classlens.data.stimulus import class_names
from classlens.figures.layout import figure_title, fitted
from classlens.figures.style import PAGE_WIDTH, save
from classlens.h5 import h5py

COLOURS = "coolwarm"
SIDE_BY_SIDE = 2
"""Images in a row of the figure."""
ROLES = ("true", "second")
STRONGEST_COVER = 0.75
"""Opacity of the map at its largest value, so that the photo shows through."""


def heatmaps(table: str, pixels: str, stimuli: str, svg: str, png: str, label: str, block: int, head: int) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.explanations.heatmaps`.
        pixels: pixel file of the evaluation images, for the photos.
        stimuli: stimuli.csv, for the names of classes.
        label: the model's.
        block, head: of the single maps, from 0.
    """
    numbers = read_table(table)
    with h5py.File(pixels) as file:
        photos = {int(image): file["pixels"][int(image)] for image in numbers["image"].unique()}
    names = class_names(stimuli)
    save(lambda: _draw(numbers, photos, names, label, {"all": "all blocks", "one": _place(block, head)}), svg, png)


def _place(block: int, head: int) -> str:
    return f"block {block + 1}, head {head + 1}"


def _draw(
    numbers: pd.DataFrame, photos: dict[int, Array], names: dict[int, str], label: str, maps: dict[str, str]
) -> Figure:
    columns = min(SIDE_BY_SIDE, len(photos))
    strips = -(-len(photos) // columns)
    side = PAGE_WIDTH / (SIDE_BY_SIDE * (1 + len(ROLES)))
    width = side * columns * (1 + len(ROLES))
    figure = Figure(figsize=(max(width, PAGE_WIDTH / 2), strips * 2.45 * (side + 0.1) + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(strips * len(maps), columns * (1 + len(ROLES)), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (image, photo) in enumerate(photos.items()):
        top, left = len(maps) * (place // columns), (1 + len(ROLES)) * (place % columns)
        of_image = numbers[numbers["image"] == image]
        grid[top, left].imshow(photo)
        grid[top, left].set_title(f"image {image}")
        for column, role in enumerate(ROLES, start=1):
            of_role = of_image[of_image["role"] == role]
            index = int(of_role["class_index"].iloc[0])
            grid[top, left + column].set_title(fitted(names.get(index, f"class {index}"), side))
            for row, name in enumerate(maps):
                _overlay(grid[top + row, left + column], photo, of_role[of_role["map"] == name])
        for row, text in enumerate(maps.values()):
            if row:
                grid[top + row, left].text(0.5, 0.5, fitted(text, side), ha="center", va="center")
    bar = figure.colorbar(
        ScalarMappable(Normalize(-1, 1), COLOURS), ax=grid, location="bottom", fraction=0.03, aspect=50, shrink=0.6
    )
    bar.set_label("importance, as a share of the map's largest")
    figure_title(figure, label)
    return figure


def _overlay(axes: Axes, photo: Array, of_map: pd.DataFrame) -> None:
    rows, columns = of_map["row"].max() + 1, of_map["column"].max() + 1
    values = np.zeros((rows, columns))
    values[of_map["row"], of_map["column"]] = of_map["importance"]
    largest = np.abs(values).max()
    shares = values / largest if largest > 0 else values
    extent = (-0.5, photo.shape[1] - 0.5, photo.shape[0] - 0.5, -0.5)
    axes.imshow(photo)
    axes.imshow(
        shares,
        cmap=COLOURS,
        vmin=-1,
        vmax=1,
        alpha=STRONGEST_COVER * np.abs(shares) ** 0.5,
        extent=extent,
        interpolation="nearest",
    )
