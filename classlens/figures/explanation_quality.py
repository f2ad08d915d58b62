"""Quality of the explanations of one model: removal, segmentation, randomisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.columns import SCORES
from classlens.figures.layout import figure_title, legend_below, new_figure
from classlens.figures.removal_curves import method_looks
from classlens.figures.segmentation_scores import SCORE_TITLES
from classlens.figures.style import (
    CHANCE,
    PAGE_WIDTH,
    SHARE_TICKS,
    Entry,
    Look,
    MethodLabels,
    interval_band,
    line_entry,
)

GAPS = {"tokens": "gap of areas, tokens", "pixels": "gap of areas, pixels"}
SCORE_MARKERS = dict(zip(SCORES, ("o", "s", "^", "D"), strict=True))
ROW_HEIGHT, CURVES_HEIGHT = 0.26, 2.3
"""Inches of a method's row, and of the panel below."""


def draw(table: pd.DataFrame, label: str, method_labels: MethodLabels) -> Figure:
    """Draw the table of `classlens.measures.explanation_quality`."""
    gaps = table[table["part"] == "gap"]
    ranked = gaps[gaps["measure"] == "tokens"].sort_values("value", ascending=False, kind="stable")
    methods = list(ranked["method"])
    looks = method_looks(method_labels, set(methods))
    present = set(table["measure"])
    segmented, randomised = "segmentation" in present, "randomisation" in present
    columns = len(GAPS) + segmented
    heights = [0.7 + ROW_HEIGHT * len(methods), *([CURVES_HEIGHT] if randomised else [])]
    figure = new_figure(PAGE_WIDTH, sum(heights) + 0.3)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    upper = [figure.add_subplot(grid[0, column]) for column in range(columns)]
    for panel, (measure, title) in zip(upper, GAPS.items(), strict=False):
        rows = gaps[gaps["measure"] == measure].set_index("method")
        for place, method in enumerate(methods):
            _dot(panel, rows.loc[method], place, "o", looks[method]["color"])
        panel.axvline(0, **CHANCE)
        panel.set_title(title)
    entries: list[Entry] = []
    if segmented:
        entries += _segmentation(upper[-1], table[table["measure"] == "segmentation"], methods, looks)
    for index, panel in enumerate(upper):
        panel.set_yticks(range(len(methods)), [method_labels[method] for method in methods] if not index else [])
        panel.set_ylim(len(methods) - 0.5, -0.5)
    if randomised:
        panel = figure.add_subplot(grid[1, :])
        entries += _randomisation(panel, table[table["measure"] == "randomisation"], looks, method_labels)
    figure_title(figure, label)
    if entries:
        legend_below(figure, entries)
    return figure


def _dot(panel: Axes, row: Any, place: float, marker: str, colour: str) -> None:
    errors = [[row["value"] - row["ci_low"]], [row["ci_high"] - row["value"]]]
    panel.errorbar(
        row["value"], place, xerr=errors, fmt=marker, color=colour, markersize=4, markeredgewidth=0, elinewidth=0.9
    )


def _segmentation(panel: Axes, rows: pd.DataFrame, methods: Sequence[str], looks: Mapping[str, Look]) -> list[Entry]:
    scores = rows.set_index(["method", "part"])
    for place, method in enumerate(methods):
        for index, (score, marker) in enumerate(SCORE_MARKERS.items()):
            if (method, score) in scores.index:
                height = place + 0.17 * (index - (len(SCORE_MARKERS) - 1) / 2)
                _dot(panel, scores.loc[(method, score)], height, marker, looks[method]["color"])
    panel.set(title="segmentation scores", xlim=(0, 1))
    panel.set_xticks(SHARE_TICKS, [f"{tick:g}" for tick in SHARE_TICKS])
    look: Look = {"color": "0.35", "linestyle": "none", "markersize": 4, "markeredgewidth": 0}
    return [line_entry(look | {"marker": marker}, SCORE_TITLES[score]) for score, marker in SCORE_MARKERS.items()]


def _randomisation(
    panel: Axes, rows: pd.DataFrame, looks: Mapping[str, Look], labels: Mapping[str, str]
) -> list[Entry]:
    steps = sorted(int(step) for step in rows["blocks_reset"].dropna().unique())
    # The random twin, in which nothing is left, lies one step after the last block.
    end = steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else 1)
    rows = rows.assign(x=rows["blocks_reset"].astype(float).fillna(end))
    present = {method: look for method, look in looks.items() if (rows["method"] == method).any()}
    start = {"x": 0, "value": 1, "ci_low": 1, "ci_high": 1}
    for method, look in present.items():
        own = rows[rows["method"] == method].sort_values("x")
        x, values, low, high = ([first, *own[name]] for name, first in start.items())
        interval_band(panel, x, low, high, look["color"])
        panel.plot(x, values, **look)
    panel.axhline(0, **CHANCE)
    panel.set_xticks([0, *steps, end], ["0", *map(str, steps), "random twin"])
    panel.set(xlabel="blocks reset, from the last one on", ylabel="rank correlation")
    panel.set_title("explanations by the same model with blocks reset")
    return [line_entry(look, labels[method]) for method, look in present.items()]
