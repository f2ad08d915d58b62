"""Accuracy while tokens are removed in the order of each explanation, for one model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.csvfile import read_table
from classlens.figures.layout import figure_title, legend_below, panels
from classlens.figures.style import (
    PAGE_WIDTH,
    RANDOM,
    SHARE_TICKS,
    Look,
    chance_entry,
    chance_line,
    interval_band,
    model_style,
    save,
)

DIRECTION_TITLES = {"negative": "least important removed first", "positive": "most important removed first"}


def removal_curves(table: str, svg: str, png: str, label: str, method_labels: Mapping[str, str]) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.removal_curves`.
        label: the model's.
        method_labels: by name of every explanation there is, in their order, which decides their looks.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, label, method_labels), svg, png)


def _draw(numbers: pd.DataFrame, label: str, labels: Mapping[str, str]) -> Figure:
    figure, axes = panels(2, 2, PAGE_WIDTH / 2, 2.6, xlabel="image tokens removed (%)")
    figure_title(figure, label)
    looks = method_looks(labels, set(numbers["method"]))
    draw_removal(axes, numbers, looks)
    axes[0].set_ylabel("accuracy")
    areas = numbers.drop_duplicates(["method", "direction"]).set_index(["method", "direction"])["auc"]
    legend_below(figure, [*removal_entries(looks, labels, areas), chance_entry("no token removed")])
    return figure


def draw_removal(axes: Sequence[Axes], numbers: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draw the curves of both tests, each into a panel."""
    whole = numbers[numbers["n_removed"] == 0]["accuracy"]
    for panel, (direction, title) in zip(axes, DIRECTION_TITLES.items(), strict=True):
        panel.set_title(title)
        if len(whole):
            chance_line(panel, whole.iloc[0])
        for method, look in looks.items():
            chosen = (numbers["method"] == method) & (numbers["direction"] == direction)
            rows = numbers[chosen].sort_values("n_removed")
            if rows["accuracy_low"].notna().all():
                x = rows["percent_removed"]
                interval_band(panel, x, rows["accuracy_low"], rows["accuracy_high"], look["color"])
            panel.plot(rows["percent_removed"], rows["accuracy"], **look)
        panel.set_xlim(-2, 102)
        panel.set_ylim(-0.02, 1.03)
        panel.set_yticks(SHARE_TICKS)


def removal_entries(
    looks: Mapping[str, Look], labels: Mapping[str, str], areas: Mapping[tuple[str, str], float] | pd.Series
) -> list[tuple[Artist, str]]:
    """Return legend entries with the areas under both curves."""
    return [
        (
            Line2D([], [], **look),
            f"{labels[method]} ({areas[method, 'negative']:.2f} / {areas[method, 'positive']:.2f})",
        )
        for method, look in looks.items()
    ]


def method_looks(labels: Mapping[str, str], present: Collection[str]) -> dict[str, Look]:
    """Return the looks of those explanations that are present, the same in every figure; `random` comes last."""
    methods = [method for method in labels if method != "random"]
    looks = {method: model_style(index) | {"markersize": 2.5} for index, method in enumerate(methods)}
    return {method: look for method, look in {**looks, "random": RANDOM}.items() if method in present}
