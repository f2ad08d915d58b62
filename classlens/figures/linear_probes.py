"""What linear probes and the class projection read of the class, and how faithful each is, for one model."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.layout import block_axes, figure_title, legend_below, panels
from classlens.figures.removal_curves import DIRECTION_TITLES, method_looks

SITE_LOOKS = {
    (site, group): style.group_line(colour, group)
    for site, colour in {"residual": style.BLUE, **style.BRANCH_COLOURS}.items()
    for group in style.GROUP_LINES
}
SITE_LABELS = {"residual": "residual", **style.BRANCH_LABELS}
METHOD_TITLES = {"probe": "linear probes", "projection": "class projection"}
COMPARED = ("gradient", "probe")
"""Explanations by class projection and by probes."""
DIRECTION_LINES = dict(zip(DIRECTION_TITLES, ("-", ":"), strict=True))


def draw(table: pd.DataFrame, removal: pd.DataFrame, label: str, method_labels: style.MethodLabels) -> Figure:
    """Draw the tables of `classlens.measures.linear_probes` and, `removal`, of `classlens.measures.removal_curves`."""
    figure, (left, middle, right) = panels(3, 3, style.PAGE_WIDTH / 3, 2.6, sharex=False)
    figure_title(figure, label)
    for panel, (method, title) in zip((left, middle), METHOD_TITLES.items(), strict=True):
        for (site, group), rows in table[table["method"] == method].groupby(["site", "group"]):
            ordered, look = rows.sort_values("block"), SITE_LOOKS[str(site), str(group)]
            style.interval_line(panel, ordered["block"] + 1, ordered, "accuracy", look)
        block_axes([panel], table["block"], most=6)
        panel.set(title=title, xlabel="block")
    entries = _site_entries(table)
    for method, look in method_looks(method_labels, set(COMPARED) & set(removal["method"])).items():
        for direction, dashes in DIRECTION_LINES.items():
            chosen = (removal["method"] == method) & (removal["direction"] == direction)
            rows, own = removal[chosen].sort_values("n_removed"), look | {"linestyle": dashes}
            right.plot(rows["percent_removed"], rows["accuracy"], **own)
            entries.append(style.line_entry(own, f"{method_labels[method]}, {DIRECTION_TITLES[direction]}"))
    right.set(title="removal of tokens", xlabel="tokens removed (%)", xlim=(-2, 102))
    left.set(ylabel="accuracy", ylim=(-0.02, 1.03), yticks=style.SHARE_TICKS)
    legend_below(figure, entries)
    return figure


def _site_entries(table: pd.DataFrame) -> list[style.Entry]:
    present = set(zip(table["site"], table["group"], strict=True))
    return [
        style.line_entry(look, f"{SITE_LABELS[site]}, {style.GROUP_LABELS[group]}")
        for (site, group), look in SITE_LOOKS.items()
        if (site, group) in present
    ]
