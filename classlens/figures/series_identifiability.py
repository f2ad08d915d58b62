"""When the class appears: identifiability by block and checkpoint, as a map and as a curve per block, and accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, TwoSlopeNorm, to_hex
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.layout import fitted, new_figure

COLOURS, BLOCK_COLOURS = "coolwarm", "viridis"
HEIGHT, LOW = 1.9, 1.3
"""Inches of a row of identifiability, and of accuracy."""
MOST_TICKS = 8


def draw(
    table: pd.DataFrame, accuracy: pd.DataFrame, models: style.Models, chances: style.Chances, labels: Mapping[str, str]
) -> Figure:
    """Draw the tables of `classlens.measures.series.series_identifiability`, with a model column each.

    Each series has a row per group of tokens and one of accuracy. Models are the series' last points; labels say, by
    model, what its series is called.
    """
    shown = [(name, [*dict.fromkeys(table.loc[table["model"] == name, "group"])]) for name, _ in models]
    heights = [height for _, groups in shown for height in (*[HEIGHT] * len(groups), LOW)]
    figure = new_figure(style.PAGE_WIDTH, sum(heights))
    grid = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    row = 0
    for name, groups in shown:
        rows, rates = (one[one["model"] == name] for one in (table, accuracy))
        numbers = rates["point"].tolist()
        for group in groups:
            seen = rows[rows["group"] == group]
            _map(figure, grid[row, 0], seen, numbers, chances[name])
            _curves(figure, grid[row, 1], seen, numbers, chances[name])
            for panel in grid[row]:
                panel.set_title(fitted(f"{labels[name]}, {style.GROUP_LABELS[group]}", style.PAGE_WIDTH / 2 - 1))
            row += 1
        style.interval_line(grid[row, 0], np.arange(len(numbers)), rates, "accuracy", style.line_style(style.BLUE))
        grid[row, 0].set(ylim=(-0.02, 1.02), yticks=style.SHARE_TICKS, ylabel="accuracy")
        checkpoint_axis(grid[row, 0], numbers)
        grid[row, 1].remove()
        for panel in (*grid[row - 1], grid[row, 0]):
            panel.set_xlabel(str(rates["at"].iloc[0]))
        row += 1
    return figure


def checkpoint_axis(panel: Axes, numbers: Sequence[int]) -> None:
    """Make the x axis of a panel checkpoints, evenly spaced whatever their numbers."""
    step = -(-len(numbers) // MOST_TICKS)
    places = range(len(numbers) - 1, -1, -step)[::-1]
    panel.set_xticks(places, [str(numbers[place]) for place in places])
    panel.set_xlim(-0.5, len(numbers) - 0.5)
    panel.grid(visible=False, axis="x")


def _map(figure: Figure, panel: Axes, rows: pd.DataFrame, numbers: Sequence[int], chance: float) -> None:
    values = rows.pivot_table(index="block", columns="point", values="mean")[numbers].to_numpy()
    norm = TwoSlopeNorm(chance, 0, 1)
    shown = panel.imshow(values, cmap=COLOURS, norm=norm, origin="lower", aspect="auto", interpolation="nearest")
    blocks = len(values)
    ticks = np.arange(0, blocks, -(-blocks // 12))
    panel.set_yticks(ticks, [str(tick + 1) for tick in ticks])
    panel.set_ylabel("block")
    panel.grid(visible=False)
    checkpoint_axis(panel, numbers)
    figure.colorbar(shown, ax=panel, label="identifiability")


def _curves(figure: Figure, panel: Axes, rows: pd.DataFrame, numbers: Sequence[int], chance: float) -> None:
    blocks = int(rows["block"].max()) + 1
    norm = BoundaryNorm(np.arange(blocks + 1) + 0.5, 256)
    for block, own in rows.groupby("block"):
        colour = to_hex(matplotlib.colormaps[BLOCK_COLOURS](norm(int(str(block)) + 1)))
        style.interval_line(panel, np.arange(len(numbers)), own.sort_values("point"), "mean", style.line_style(colour))
    style.chance_line(panel, chance)
    panel.set(ylim=(-0.02, 1.02), yticks=style.SHARE_TICKS)
    checkpoint_axis(panel, numbers)
    step = -(-blocks // 12)
    colours = matplotlib.cm.ScalarMappable(norm, BLOCK_COLOURS)
    figure.colorbar(colours, ax=panel, label="block", ticks=np.arange(step, blocks + 1, step))
