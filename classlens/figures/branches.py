"""Figures with a panel per model and branch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.layout import block_axes, fitted, panel_titles, panels
from classlens.figures.style import BRANCH_LABELS, PAGE_WIDTH

DrawPanel = Callable[[Axes, pd.DataFrame, str], None]
"""Called with a panel, its rows of the table and its branch."""


def branch_panels(
    numbers: pd.DataFrame, models: Sequence[Sequence[str]], draw: DrawPanel, ylabel: str, height: float = 1.8
) -> Figure:
    """Draw a row of panels per model, attention on the left and the MLP on the right.

    Args:
        numbers: a table with the columns model, branch and block.
        models: name and label of each model, in display order.
        draw: draws one panel.
        ylabel: the y axis of all panels.
        height: of a panel, inches.
    """
    columns = len(BRANCH_LABELS)
    figure, axes = panels(columns * len(models), columns, PAGE_WIDTH / columns, height, xlabel="block")
    titles = []
    for row, (name, label) in enumerate(models):
        for column, branch in enumerate(BRANCH_LABELS):
            chosen = (numbers["model"] == name) & (numbers["branch"] == branch)
            draw(axes[columns * row + column], numbers[chosen].sort_values("block"), branch)
            titles.append(f"{label}, {BRANCH_LABELS[branch]}")
    panel_titles(figure, axes, titles)
    block_axes(axes, numbers["block"])
    figure.supylabel(fitted(ylabel, height * len(models)))
    return figure
