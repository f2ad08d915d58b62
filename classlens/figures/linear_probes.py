"""What linear probes and the class projection read of the class, and how faithful each is, for one model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.csvfile import read_table
from classlens.figures.layout import block_axes, figure_title, legend_below, panels
from classlens.figures.removal_curves import DIRECTION_TITLES, method_looks
from classlens.figures.style import (
    BLUE,
    BRANCH_COLOURS,
    GROUP_LABELS,
    PAGE_WIDTH,
    SHARE_TICKS,
    Look,
    interval_band,
    line_style,
    save,
)

SITE_COLOURS = {"residual": BLUE, **BRANCH_COLOURS}
SITE_LABELS = {"residual": "residual", "attn": "attention", "mlp": "MLP"}
GROUP_LINES = {"cls": "-", "image": "--"}
METHOD_TITLES = {"probe": "linear probes", "projection": "class projection"}
COMPARED = ("gradient", "probe")
"""Explanations by class projection and by probes."""


def linear_probes(table: str, removal: str, svg: str, png: str, label: str, method_labels: Mapping[str, str]) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.linear_probes`.
        removal: see `classlens.measures.removal_curves`.
        label: the model's.
        method_labels: see `classlens.figures.removal_curves`.
    """
    numbers, curves = read_table(table), read_table(removal)
    save(lambda: _draw(numbers, curves, label, method_labels), svg, png)


def _draw(numbers: pd.DataFrame, curves: pd.DataFrame, label: str, labels: Mapping[str, str]) -> Figure:
    figure, (left, middle, right) = panels(3, 3, PAGE_WIDTH / 3, 2.6, share_columns=False)
    figure_title(figure, label)
    for panel, (method, title) in zip((left, middle), METHOD_TITLES.items(), strict=True):
        _accuracy(panel, numbers[numbers["method"] == method])
        block_axes([panel], numbers["block"], most=6)
        panel.set_title(title)
        panel.set_xlabel("block")
    left.set_ylabel("accuracy")
    looks = method_looks(labels, set(COMPARED) & set(curves["method"]))
    for method, look in looks.items():
        for direction, dashes in zip(DIRECTION_TITLES, ("-", ":"), strict=True):
            chosen = (curves["method"] == method) & (curves["direction"] == direction)
            rows = curves[chosen].sort_values("n_removed")
            right.plot(rows["percent_removed"], rows["accuracy"], **look | {"linestyle": dashes})
    right.set_title("removal of tokens")
    right.set_xlabel("tokens removed (%)")
    right.set_xlim(-2, 102)
    left.set_ylim(-0.02, 1.03)
    left.set_yticks(SHARE_TICKS)
    legend_below(figure, [*_site_entries(numbers), *_removal_entries(looks, labels)])
    return figure


def _accuracy(axes: Axes, numbers: pd.DataFrame) -> None:
    for (site, group), rows in numbers.groupby(["site", "group"]):
        ordered = rows.sort_values("block")
        colour = SITE_COLOURS[str(site)]
        interval_band(axes, ordered["block"] + 1, ordered["ci_low"], ordered["ci_high"], colour)
        look = line_style(colour) | {"linestyle": GROUP_LINES[str(group)]}
        axes.plot(ordered["block"] + 1, ordered["accuracy"], **look)


def _site_entries(numbers: pd.DataFrame) -> list[tuple[Artist, str]]:
    present = set(zip(numbers["site"], numbers["group"], strict=True))
    return [
        (
            Line2D([], [], **line_style(SITE_COLOURS[site]) | {"linestyle": dashes}),
            f"{SITE_LABELS[site]}, {GROUP_LABELS[group]}",
        )
        for site in SITE_LABELS
        for group, dashes in GROUP_LINES.items()
        if (site, group) in present
    ]


def _removal_entries(looks: Mapping[str, Look], labels: Mapping[str, str]) -> list[tuple[Artist, str]]:
    return [
        (Line2D([], [], **look | {"linestyle": dashes}), f"{labels[method]}, {title}")
        for method, look in looks.items()
        for title, dashes in zip(DIRECTION_TITLES.values(), ("-", ":"), strict=True)
    ]
