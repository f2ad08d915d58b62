"""What linear probes and the class projection read of the class, and how faithful each is, for one model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from classlens.figures.layout import block_axes, figure_title, legend_below, panels
from classlens.figures.removal_curves import DIRECTION_TITLES, method_looks
from classlens.figures.style import (
    BLUE,
    BRANCH_COLOURS,
    BRANCH_LABELS,
    GROUP_LABELS,
    GROUP_LINES,
    PAGE_WIDTH,
    SHARE_TICKS,
    Entry,
    Look,
    interval_line,
    line_entry,
    line_style,
)

SITE_COLOURS = {"residual": BLUE, **BRANCH_COLOURS}
SITE_LABELS = {"residual": "residual", **BRANCH_LABELS}
METHOD_TITLES = {"probe": "linear probes", "projection": "class projection"}
COMPARED = ("gradient", "probe")
"""Explanations by class projection and by probes."""
DIRECTION_LINES = dict(zip(DIRECTION_TITLES, ("-", ":"), strict=True))


def draw(table: pd.DataFrame, removal: pd.DataFrame, label: str, method_labels: Mapping[str, str]) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.linear_probes`.
        removal: see `classlens.measures.removal_curves`.
        label: the model's.
        method_labels: see `classlens.figures.removal_curves`.
    """
    figure, (left, middle, right) = panels(3, 3, PAGE_WIDTH / 3, 2.6, share_columns=False)
    figure_title(figure, label)
    for panel, (method, title) in zip((left, middle), METHOD_TITLES.items(), strict=True):
        for (site, group), rows in table[table["method"] == method].groupby(["site", "group"]):
            ordered = rows.sort_values("block")
            interval_line(panel, ordered["block"] + 1, ordered, "accuracy", _look(str(site), str(group)))
        block_axes([panel], table["block"], most=6)
        panel.set(title=title, xlabel="block")
    entries = _site_entries(table)
    for method, look in method_looks(method_labels, set(COMPARED) & set(removal["method"])).items():
        for direction, dashes in DIRECTION_LINES.items():
            chosen = (removal["method"] == method) & (removal["direction"] == direction)
            rows, own = removal[chosen].sort_values("n_removed"), look | {"linestyle": dashes}
            right.plot(rows["percent_removed"], rows["accuracy"], **own)
            entries.append(line_entry(own, f"{method_labels[method]}, {DIRECTION_TITLES[direction]}"))
    right.set(title="removal of tokens", xlabel="tokens removed (%)", xlim=(-2, 102))
    left.set(ylabel="accuracy", ylim=(-0.02, 1.03), yticks=SHARE_TICKS)
    legend_below(figure, entries)
    return figure


def _look(site: str, group: str) -> Look:
    return line_style(SITE_COLOURS[site]) | {"linestyle": GROUP_LINES[group]}


def _site_entries(table: pd.DataFrame) -> list[Entry]:
    present = set(zip(table["site"], table["group"], strict=True))
    return [
        line_entry(_look(site, group), f"{SITE_LABELS[site]}, {GROUP_LABELS[group]}")
        for site in SITE_LABELS
        for group in GROUP_LINES
        if (site, group) in present
    ]
