"""One image, block by block: its tokens over the photo, coloured by how identifiable the class is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.arrays import Array
from classlens.figures.layout import class_namer, figure_title, fitted, legend_below, panels
from classlens.figures.maps import bar_below
from classlens.figures.style import PAGE_WIDTH, Look
from classlens.photos import as_colours

COLOURS = "coolwarm"
MOST, COLUMNS = 7, 4
"""Blocks that are drawn; panels in a row, one of which is the photo."""
COVER = 0.6
"""Opacity of a token, so that the photo shows through, in grey."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601)."""
BAR_HEIGHT = 0.5
"""Inches, with its label."""
TOP_RANK: Look = {"marker": "o", "markersize": 2.2, "color": "white", "markeredgecolor": "0.15", "linestyle": "none"}


def draw(
    table: pd.DataFrame,
    pixels: Mapping[str, Any],
    stimuli: pd.DataFrame,
    label: str,
    chance: float,
    grid: Sequence[int],
) -> Figure:
    """Draw the table of `classlens.measures.one_image`.

    Args:
        pixels: the open pixel file of the evaluation images, or another mapping with `pixels`: by image, (H, W, 3).
        stimuli: names of classes, in the columns class_index and class_name.
        chance: mean identifiability of a random ranking.
        grid: rows and columns of image tokens.
    """
    name = class_namer(stimuli)
    tokens, said = {}, {}
    for block in spread(int(table["block"].max()) + 1):
        here = table[table["block"] == block]
        tokens[block] = here.loc[here["group"] == "image", "identifiability"].to_numpy().reshape(tuple(grid))
        of_cls = here.loc[here["group"] == "cls", "top_class"]
        said[block] = f", [CLS] says {name(int(of_cls.iloc[0]))}" if len(of_cls) else ""
    image, index = (int(table[column].iloc[0]) for column in ("image", "class_index"))
    title = f"{label}: where image {image} shows its class, {name(index)}, block by block"
    photo = as_colours(pixels["pixels"][image]) / 255
    return draw_blocks(photo, tokens, said, chance=chance, title=title)


def spread(depth: int) -> list[int]:
    """Return at most `MOST` blocks from the first to the last."""
    return sorted({int(place) for place in np.linspace(0, depth - 1, min(MOST, depth)).round()})


def draw_blocks(
    photo: Array, tokens: Mapping[int, Array], said: Mapping[int, str], *, chance: float, title: str
) -> Figure:
    """Draw a panel per block.

    Args:
        photo: (H, W, 3), between 0 and 1.
        tokens: identifiability of the class in image tokens, by block from 0: (rows, columns).
        said: what a panel's title says beside the block, by block.
        chance: mean identifiability of a random ranking.
        title: of the figure.
    """
    side = PAGE_WIDTH / COLUMNS
    figure, axes = panels(1 + len(tokens), COLUMNS, side, side + 0.15)
    for panel in axes:
        panel.set_axis_off()
    axes[0].imshow(photo)
    axes[0].set_title("image")
    norm = TwoSlopeNorm(chance, 0, 1)
    for panel, (block, of_block) in zip(axes[1:], tokens.items(), strict=True):
        _draw_tokens(panel, photo, of_block, norm)
        panel.set_title(fitted(f"block {block + 1}{said[block]}", side))
    bar_below(figure, axes, norm, COLOURS, "identifiability (grey: chance)")
    figure.set_figheight(figure.get_figheight() + BAR_HEIGHT)
    if any((of_block == 1).any() for of_block in tokens.values()):
        legend_below(figure, [(Line2D([], [], **TOP_RANK), "no class is above")])
    figure_title(figure, title)
    return figure


def _draw_tokens(axes: Axes, photo: Array, identifiability: Array, norm: TwoSlopeNorm) -> None:
    height, width = photo.shape[:2]
    axes.imshow(photo @ np.array(LUMINANCE, photo.dtype), cmap="gray", vmin=-0.7, vmax=1)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(identifiability, cmap=COLOURS, norm=norm, alpha=COVER, extent=extent, interpolation="nearest")
    rows, columns = np.nonzero(identifiability == 1)
    if len(rows):
        x = (columns + 0.5) * width / identifiability.shape[1] - 0.5
        axes.plot(x, (rows + 0.5) * height / identifiability.shape[0] - 0.5, markeredgewidth=0.4, **TOP_RANK)
