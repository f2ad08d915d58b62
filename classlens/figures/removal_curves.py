"""Accuracy while tokens are removed in the order of each explanation, for one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
from classlens.tables.files import read_table

DIRECTION_TITLES = {"negative": "least important removed first", "positive": "most important removed first"}
METHOD_LABELS = {
    "gradient": "gradient",
    "gradient_logit": "gradient of logit",
    "gradient_double_softmax": "gradient, double softmax",
    "chefer": "Chefer",
    "rollout": "rollout",
    "attention": "attention",
    "probe": "linear probes",
    "random": "random",
}


def removal_curves(table: str, svg: str, png: str, label: str) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.faithfulness.table`.
        label: the model's.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, label), svg, png)


def _draw(numbers: pd.DataFrame, label: str) -> Figure:
    figure, axes = panels(2, 2, PAGE_WIDTH / 2, 2.6, xlabel="image tokens removed (%)")
    figure_title(figure, label)
    methods = [method for method in METHOD_LABELS if method in set(numbers["method"])]
    draw_removal(axes, numbers, methods)
    axes[0].set_ylabel("accuracy")
    areas = numbers.drop_duplicates(["method", "direction"]).set_index(["method", "direction"])["auc"]
    legend_below(figure, [*removal_entries(methods, areas), chance_entry("no token removed")])
    return figure


def draw_removal(axes: Sequence[Axes], numbers: pd.DataFrame, methods: Sequence[str]) -> None:
    """Draw the curves of both tests, each into a panel."""
    whole = numbers[numbers["n_removed"] == 0]["accuracy"]
    for panel, (direction, title) in zip(axes, DIRECTION_TITLES.items(), strict=True):
        panel.set_title(title)
        if len(whole):
            chance_line(panel, whole.iloc[0])
        for method in methods:
            chosen = (numbers["method"] == method) & (numbers["direction"] == direction)
            rows = numbers[chosen].sort_values("n_removed")
            look = method_style(method)
            if rows["accuracy_low"].notna().all():
                x = rows["percent_removed"]
                interval_band(panel, x, rows["accuracy_low"], rows["accuracy_high"], look["color"])
            panel.plot(rows["percent_removed"], rows["accuracy"], **look)
        panel.set_xlim(-2, 102)
        panel.set_ylim(-0.02, 1.03)
        panel.set_yticks(SHARE_TICKS)


def removal_entries(
    methods: Sequence[str], areas: Mapping[tuple[str, str], float] | pd.Series
) -> list[tuple[Artist, str]]:
    """Return legend entries with the areas under both curves."""
    return [
        (
            Line2D([], [], **method_style(method)),
            f"{METHOD_LABELS[method]} ({areas[method, 'negative']:.2f} / {areas[method, 'positive']:.2f})",
        )
        for method in methods
    ]


def method_style(method: str) -> Look:
    """Return the look of a method's curve, the same in every figure."""
    if method == "random":
        return RANDOM
    return model_style(list(METHOD_LABELS).index(method)) | {"markersize": 2.5}
