"""What the second of two models does otherwise than the first: identifiability, and heads."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.layout import block_axes, figure_title, fitted, legend_below, new_figure
from classlens.figures.style import (
    CHANCE,
    GROUP_COLOURS,
    GROUP_LABELS,
    MARK_COLOUR,
    PAGE_WIDTH,
    SIGNIFICANT,
    Entry,
    Look,
    interval_line,
    line_entry,
    line_style,
)

COLOURS = "RdBu_r"
HEIGHT = 2.2
"""Inches of a panel."""
HEADS = {"direct": "direct contribution of heads", "effect": "effect of heads"}
MOST_TICKS = 8
"""Numbers of blocks."""
WHOLE = {"accuracy": "accuracy", "logit": "correct class's logit"}


def draw(table: pd.DataFrame, first: str, second: str) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.difference`.
        first, second: the models' labels.
    """
    heads = {name: rows for name in HEADS if len(rows := table[(table["quantity"] == name) & table["head"].notna()])}
    figure = new_figure(PAGE_WIDTH, HEIGHT)
    axes = figure.subplots(1, 1 + len(heads), squeeze=False)[0]
    entries = _identifiability(axes[0], table[table["quantity"] == "identifiability"])
    for panel, (name, rows) in zip(axes[1:], heads.items(), strict=True):
        _heads(figure, panel, rows)
        panel.set_title(fitted(HEADS[name], PAGE_WIDTH / 3 - 0.6))
    if table.loc[table["quantity"].isin(["identifiability", *heads]), "significant"].any():
        entries.append(line_entry(SIGNIFICANT | {"color": MARK_COLOUR}, "differs from 0"))
    legend_below(figure, entries)
    figure_title(figure, f"{second} - {first}: {_said(table)}")
    return figure


def _said(table: pd.DataFrame) -> str:
    """Return the differences of the models as wholes."""
    return ", ".join(
        f"{WHOLE[row['quantity']]} {row['difference']:+.3f}"
        + ("" if np.isnan(row["ci_low"]) else f" [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]")
        for row in table[table["quantity"].isin(WHOLE)].to_dict("records")
    )


def _identifiability(panel: Axes, rows: pd.DataFrame) -> list[Entry]:
    entries = []
    for group, colour in GROUP_COLOURS.items():
        own = rows[rows["group"] == group].sort_values("block")
        if len(own):
            x = own["block"].astype(int) + 1
            interval_line(panel, x, own, "difference", line_style(colour))
            differs = own["significant"].to_numpy(dtype=bool)
            panel.plot(x[differs], own["ci_high"][differs], color=colour, **SIGNIFICANT)
            entries.append(line_entry(line_style(colour), GROUP_LABELS[group]))
    panel.axhline(0, **CHANCE)
    panel.set(title="identifiability", xlabel="block", ylabel="difference")
    block_axes([panel], rows["block"].astype(int), MOST_TICKS)
    return entries


def _heads(figure: Figure, panel: Axes, rows: pd.DataFrame) -> None:
    values, differs = (
        rows.pivot_table(index="head", columns="block", values=name).to_numpy(dtype=float)
        for name in ("difference", "significant")
    )
    most = float(np.abs(values).max()) or 1.0
    blocks = np.arange(values.shape[1])
    look: Look = {"cmap": COLOURS, "vmin": -most, "vmax": most, "aspect": "auto", "interpolation": "nearest"}
    shown = panel.imshow(values, extent=(0.5, len(blocks) + 0.5, len(values) + 0.5, 0.5), **look)
    head, block = np.nonzero(differs)
    panel.plot(block + 1, head + 1, color=MARK_COLOUR, **SIGNIFICANT)
    block_axes([panel], blocks, MOST_TICKS)
    step = -(-len(values) // 12)
    panel.set(xlabel="block", ylabel="head", yticks=range(1, len(values) + 1, step))
    panel.grid(visible=False)
    figure.colorbar(shown, ax=panel, label="logit")
