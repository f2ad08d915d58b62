"""Heads in words: a map of blocks and heads with the first word of each named head, and all words of these."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.columns import MODEL
from classlens.figures.layout import block_axes, figure_title, fitted, new_figure
from classlens.figures.maps import GREYED, word_look, word_map
from classlens.figures.style import MARK_COLOUR, PAGE_WIDTH

MAP_WIDTH = PAGE_WIDTH - 1.2
"""Inches of the map, without axis and colour bar."""
CELL, LINE, SHORTEST, TALLEST = 0.34, 0.16, 1.4, 5.5
"""Inches: height of a head in the map, of its line below, and of the map at least and at most."""
MOST_BLOCKS = 24
"""Of which words are written in the map."""
MOST_LINES = 24
"""Heads whose words are listed: named ones first, then those with the largest shares."""
LARGEST, SMALLEST = 6.5, 3.0
"""Points of a word in the map."""


def draw(table: pd.DataFrame, label: str) -> Figure:
    """Draw the table of `classlens.measures.head_words`."""
    first, model = table[table["place"] == 1], table[table["of"] == MODEL]
    own, twin = first[first["of"] == MODEL], first[first["of"] != MODEL]
    shown = own.assign(named=own["name"].notna())
    listed = shown.sort_values(["named", "share"], ascending=False, kind="stable").head(MOST_LINES)
    heads = int(table["head"].max()) + 1 if len(table) else 1
    heights = [float(np.clip(heads * CELL, SHORTEST, TALLEST)) + 0.5, max(3, len(listed)) * LINE + 0.3]
    figure = new_figure(PAGE_WIDTH, sum(heights) + 0.3)
    above, below = figure.subplots(2, 1, height_ratios=heights)
    figure_title(figure, label)
    _map(above, shown, heads)
    said = f"; {twin['name'].notna().sum()} of {len(twin)} of the random twin" if len(twin) else ""
    above.set_title(f"{shown['named'].sum()} of {len(shown)} heads are named{said}")
    _list(below, listed, model)
    return figure


def _map(axes: Axes, shown: pd.DataFrame, heads: int) -> None:
    """Draw a map of blocks and heads, both from 1; the list has words whole."""
    blocks = int(shown["block"].max()) + 1 if len(shown) else 1
    shares = np.full((heads, blocks), np.nan)
    named = shown[shown["named"]]
    shares[named["head"], named["block"]] = named["share"]
    word_map(axes, 100 * shares, origin="lower", extent=(0.5, blocks + 0.5, 0.5, heads + 0.5))
    size = float(np.clip(LARGEST * 12 / blocks, SMALLEST, LARGEST))
    for row in shown.to_dict("records") if blocks <= MOST_BLOCKS else []:
        word, colour = word_look(row)
        text = f"{fitted(word, MAP_WIDTH / blocks, size)}\n{100 * row['share']:.0f} %"
        axes.text(row["block"] + 1, row["head"] + 1, text, size=size, color=colour, ha="center", va="center")
    block_axes([axes], range(blocks), MOST_BLOCKS)
    axes.set_xlim(0.5, blocks + 0.5)
    axes.set_yticks(range(1, heads + 1))
    axes.set(xlabel="block", ylabel="head")


def _list(axes: Axes, listed: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Write a line per named head: its words with their shares, and what random directions reach."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(max(1, len(listed)), 0))
    axes.set_title("words of heads (block.head), and the 95th percentile of random directions' first", loc="left")
    for line, row in enumerate(listed.to_dict("records")):
        words = rows[(rows["block"] == row["block"]) & (rows["head"] == row["head"])]
        said = ", ".join(f"{one['word']} {100 * one['share']:.0f} %" for one in words.to_dict("records"))
        text, _, more = fitted(said, PAGE_WIDTH - 1.9).partition("\n")
        colour = MARK_COLOUR if row["named"] else GREYED
        axes.text(0, line + 0.5, f"{row['block'] + 1}.{row['head'] + 1}", va="center", color=colour)
        axes.text(0.07, line + 0.5, text + (" …" if more else ""), va="center", color=colour)
        axes.text(1, line + 0.5, f"random {100 * row['null']:.0f} %", va="center", ha="right", color=GREYED)
