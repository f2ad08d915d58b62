"""Quality of the explanations of one model: removal, segmentation, randomisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.columns import SCORES
from classlens.csvfile import read_table
from classlens.figures.layout import figure_title, legend_below
from classlens.figures.removal_curves import method_looks
from classlens.figures.segmentation_scores import SCORE_TITLES
from classlens.figures.style import CHANCE, PAGE_WIDTH, SHARE_TICKS, Look, interval_band, save

GAPS = {"tokens": "gap of areas, tokens", "pixels": "gap of areas, pixels"}
SCORE_MARKERS = dict(zip(SCORES, ("o", "s", "^", "D"), strict=True))
ROW_HEIGHT, CURVES_HEIGHT = 0.26, 2.3
"""Inches of a method's row, and of the panel below."""


def explanation_quality(table: str, svg: str, png: str, label: str, method_labels: Mapping[str, str]) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.explanation_quality`.
        label: the model's.
        method_labels: see `classlens.figures.removal_curves`.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, label, method_labels), svg, png)


def _draw(numbers: pd.DataFrame, label: str, labels: Mapping[str, str]) -> Figure:
    tokens = numbers[(numbers["measure"] == "tokens") & (numbers["part"] == "gap")]
    methods = list(tokens.sort_values("value", ascending=False, kind="stable")["method"])
    looks = method_looks(labels, set(methods))
    present = set(numbers["measure"])
    segmented, randomised = "segmentation" in present, "randomisation" in present
    columns = len(GAPS) + segmented
    heights = [0.7 + ROW_HEIGHT * len(methods), *([CURVES_HEIGHT] if randomised else [])]
    figure = Figure(figsize=(PAGE_WIDTH, sum(heights) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    upper = [figure.add_subplot(grid[0, column]) for column in range(columns)]
    for panel, (measure, title) in zip(upper, GAPS.items(), strict=False):
        rows = numbers[(numbers["measure"] == measure) & (numbers["part"] == "gap")].set_index("method")
        for place, method in enumerate(methods):
            _dot(panel, rows.loc[method], place, "o", looks[method]["color"])
        panel.axvline(0, **CHANCE)
        panel.set_title(title)
    entries: list[tuple[Artist, str]] = []
    if segmented:
        entries += _segmentation(upper[-1], numbers, methods, looks)
    for index, panel in enumerate(upper):
        panel.set_yticks(range(len(methods)), [labels[method] for method in methods] if not index else [])
        panel.set_ylim(len(methods) - 0.5, -0.5)
    if randomised:
        entries += _randomisation(figure.add_subplot(grid[1, :]), numbers, looks, labels)
    figure_title(figure, label)
    if entries:
        legend_below(figure, entries)
    return figure


def _dot(panel: Axes, row: Any, place: float, marker: str, colour: str) -> None:
    errors = [[row["value"] - row["ci_low"]], [row["ci_high"] - row["value"]]]
    panel.errorbar(
        row["value"], place, xerr=errors, fmt=marker, color=colour, markersize=4, markeredgewidth=0, elinewidth=0.9
    )


def _segmentation(
    panel: Axes, numbers: pd.DataFrame, methods: Sequence[str], looks: Mapping[str, Look]
) -> list[tuple[Artist, str]]:
    scores = numbers[numbers["measure"] == "segmentation"].set_index(["method", "part"])
    for place, method in enumerate(methods):
        for index, (score, marker) in enumerate(SCORE_MARKERS.items()):
            if (method, score) in scores.index:
                height = place + 0.17 * (index - (len(SCORE_MARKERS) - 1) / 2)
                row: Any = scores.loc[(method, score)]
                _dot(panel, row, height, marker, looks[method]["color"])
    panel.set_title("segmentation scores")
    panel.set_xlim(0, 1)
    panel.set_xticks(SHARE_TICKS, [f"{tick:g}" for tick in SHARE_TICKS])
    look: Look = {"color": "0.35", "linestyle": "none", "markersize": 4, "markeredgewidth": 0}
    return [(Line2D([], [], marker=marker, **look), SCORE_TITLES[score]) for score, marker in SCORE_MARKERS.items()]


def _randomisation(
    panel: Axes, numbers: pd.DataFrame, looks: Mapping[str, Look], labels: Mapping[str, str]
) -> list[tuple[Artist, str]]:
    rows = numbers[numbers["measure"] == "randomisation"].copy()
    steps = sorted(int(step) for step in rows["blocks_reset"].dropna().unique())
    # The random twin, in which nothing is left, lies one step behind the last block.
    end = steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else 1)
    rows["x"] = rows["blocks_reset"].astype(float).fillna(end)
    present = {method: look for method, look in looks.items() if (rows["method"] == method).any()}
    for method, look in present.items():
        own = rows[rows["method"] == method].sort_values("x")
        x, values, low, high = ([start, *own[name]] for start, name in zip((0, 1, 1, 1), ("x", *_VALUES), strict=True))
        interval_band(panel, x, low, high, look["color"])
        panel.plot(x, values, **look)
    panel.axhline(0, **CHANCE)
    panel.set_xticks([0, *steps, end], ["0", *map(str, steps), "random twin"])
    panel.set_xlabel("blocks reset, from the last one on")
    panel.set_ylabel("rank correlation")
    panel.set_title("explanations by the same model with blocks reset")
    return [(Line2D([], [], **look), labels[method]) for method, look in present.items()]


_VALUES = ("value", "ci_low", "ci_high")
