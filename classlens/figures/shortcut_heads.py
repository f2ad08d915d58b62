"""Heads that carry a shortcut: how far what each writes goes with an attribute, over blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from classlens.columns import MODEL
from classlens.figures.layout import block_axes, figure_title, legend_below, new_figure
from classlens.figures.style import BLUE, GREY, MARK_COLOUR, PAGE_WIDTH, Look, line_entry

MOST_NAMED = 6
SPREAD = 0.5
"""Of a block's heads, side by side, as a share of the distance between blocks."""
MODEL_DOT: Look = {"marker": "o", "markersize": 4.0, "linestyle": "none", "color": BLUE}
TWIN_DOT: Look = {"marker": ".", "markersize": 3.0, "linestyle": "none", "color": GREY}


def draw(table: pd.DataFrame, label: str) -> Figure:
    """Draw the table of `classlens.measures.shortcut_heads`."""
    figure = new_figure(PAGE_WIDTH, 2.9)
    axes = figure.subplots()
    figure_title(figure, label)
    heads = int(table["head"].max()) + 1
    place = table["block"] + 1 + SPREAD * ((table["head"] + 0.5) / heads - 0.5)
    for row, x in zip(table.to_dict("records"), place, strict=True):
        if row["of"] != MODEL:
            axes.plot(x, 100 * row["share"], **TWIN_DOT)
            continue
        errors = [[100 * max(0, row["share"] - row["ci_low"])], [100 * max(0, row["ci_high"] - row["share"])]]
        filled = {} if row["significant"] else {"markerfacecolor": "white"}
        axes.errorbar(x, 100 * row["share"], yerr=errors, elinewidth=0.7, **MODEL_DOT | filled)
    named = table[(table["of"] == MODEL) & table["significant"]].nlargest(MOST_NAMED, "share")
    for row, x in zip(named.to_dict("records"), place[named.index], strict=True):
        word = f" {row['word']}" if isinstance(row["word"], str) else ""
        text = f"{row['block'] + 1}.{row['head'] + 1}{word}"
        axes.annotate(text, (x, 100 * row["share"]), (4, 3), textcoords="offset points", color=MARK_COLOUR)
    block_axes([axes], np.unique(table["block"]))
    axes.set(xlabel="block", ylabel="variance within classes\nthat goes with the attribute (%)")
    axes.set_ylim(bottom=0)
    entries = [
        line_entry(MODEL_DOT, "significant"),
        line_entry(MODEL_DOT | {"markerfacecolor": "white"}, "not significant"),
    ]
    twin = [line_entry(TWIN_DOT, "random twin")] if (table["of"] != MODEL).any() else []
    legend_below(figure, [*entries, *twin])
    return figure
