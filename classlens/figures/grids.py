"""Figures with a panel, or a row of panels, per model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.layout import block_axes, fitted, new_figure, panel_titles, panels
from classlens.figures.style import BRANCH_LABELS, PAGE_WIDTH, Models

DrawPanel = Callable[[Axes, pd.DataFrame, str], None]
"""Called with a panel, its rows of the table, and its model or branch."""


def model_panels(
    table: pd.DataFrame, models: Models, panel: DrawPanel, ylabel: str, columns: int, height: float, most: int = 12
) -> Figure:
    """Draw a panel per model.

    Args:
        table: with the columns model and block.
        models: name and label of each model, in display order.
        panel: draws one, given the model's name.
        ylabel: the y axis of all panels.
        columns: at most so many panels side by side.
        height: of a panel, inches.
        most: at most so many blocks are numbered.
    """
    columns = min(len(models), columns)
    figure, axes = panels(len(models), columns, PAGE_WIDTH / max(columns, 2), height, xlabel="block")
    for place, (name, _) in zip(axes, models, strict=True):
        panel(place, table[table["model"] == name], name)
    panel_titles(figure, axes, [label for _, label in models])
    block_axes(axes, table["block"], most)
    figure.supylabel(ylabel)
    return figure


def branch_panels(table: pd.DataFrame, models: Models, panel: DrawPanel, ylabel: str, height: float = 1.8) -> Figure:
    """Draw a row of panels per model, attention on the left and the MLP on the right.

    Args:
        table: with the columns model, branch and block.
        models: name and label of each model, in display order.
        panel: draws one, given its branch.
        ylabel: the y axis of all panels.
        height: of a panel, inches.
    """
    columns = len(BRANCH_LABELS)
    figure, axes = panels(columns * len(models), columns, PAGE_WIDTH / columns, height, xlabel="block")
    titles = []
    for row, (name, label) in enumerate(models):
        for column, branch in enumerate(BRANCH_LABELS):
            chosen = (table["model"] == name) & (table["branch"] == branch)
            panel(axes[columns * row + column], table[chosen].sort_values("block"), branch)
            titles.append(f"{label}, {BRANCH_LABELS[branch]}")
    panel_titles(figure, axes, titles)
    block_axes(axes, table["block"])
    figure.supylabel(fitted(ylabel, height * len(models)))
    return figure


def panel_pairs(models: Models, height: float, sharey: Any) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Make a figure with two panels per model side by side, over blocks, whose x axes are their own.

    Args:
        models: one for each row.
        height: of a row, inches.
        sharey: see matplotlib's `subplots`.
    """
    figure = new_figure(PAGE_WIDTH, height * len(models))
    grid = figure.subplots(len(models), 2, sharey=sharey, squeeze=False)
    for panel in grid[-1]:
        panel.set_xlabel("block")
    return figure, [(left, right) for left, right in grid]
