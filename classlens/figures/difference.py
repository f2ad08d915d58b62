"""What the second of two models does otherwise than the first: identifiability, and heads."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.layout import block_axes, figure_title, fitted, legend_below, new_figure
from classlens.figures.maps import signed_map

COLOURS = "RdBu_r"
HEIGHT = 2.2
"""Inches of a panel."""
HEADS = {"direct": "direct contribution of heads", "effect": "effect of heads"}
MOST_TICKS = 8
"""Numbers of blocks."""
WHOLE = {"accuracy": "accuracy", "logit": "correct class's logit"}


def draw(table: pd.DataFrame, first: str, second: str) -> Figure:
    """Draw the table of `classlens.measures.difference`; `first` and `second` are the models' labels."""
    heads = {name: rows for name in HEADS if len(rows := table[(table["quantity"] == name) & table["head"].notna()])}
    figure = new_figure(style.PAGE_WIDTH, HEIGHT)
    axes = figure.subplots(1, 1 + len(heads), squeeze=False)[0]
    entries = _identifiability(axes[0], table[table["quantity"] == "identifiability"])
    for panel, (name, rows) in zip(axes[1:], heads.items(), strict=True):
        _heads(panel, rows)
        panel.set_title(fitted(HEADS[name], style.PAGE_WIDTH / 3 - 0.6))
    if table.loc[table["quantity"].isin(["identifiability", *heads]), "significant"].any():
        entries.append(style.line_entry(style.SIGNIFICANT | {"color": style.MARK_COLOUR}, "differs from 0"))
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


def _identifiability(panel: Axes, rows: pd.DataFrame) -> list[style.Entry]:
    entries = []
    for group, colour in style.GROUP_COLOURS.items():
        own = rows[rows["group"] == group].sort_values("block")
        if len(own):
            x = own["block"].astype(int) + 1
            style.interval_line(panel, x, own, "difference", style.line_style(colour))
            differs = own["significant"].to_numpy(dtype=bool)
            panel.plot(x[differs], own["ci_high"][differs], color=colour, **style.SIGNIFICANT)
            entries.append(style.line_entry(style.line_style(colour), style.GROUP_LABELS[group]))
    panel.axhline(0, **style.CHANCE)
    panel.set(title="identifiability", xlabel="block", ylabel="difference")
    block_axes([panel], rows["block"].astype(int), MOST_TICKS)
    return entries


def _heads(panel: Axes, rows: pd.DataFrame) -> None:
    values, differs = (
        rows.pivot_table(index="head", columns="block", values=name).to_numpy(dtype=float)
        for name in ("difference", "significant")
    )
    blocks = np.arange(values.shape[1])
    signed_map(panel, values, COLOURS, "logit", extent=(0.5, len(blocks) + 0.5, len(values) + 0.5, 0.5))
    head, block = np.nonzero(differs)
    panel.plot(block + 1, head + 1, color=style.MARK_COLOUR, **style.SIGNIFICANT)
    block_axes([panel], blocks, MOST_TICKS)
    step = -(-len(values) // 12)
    panel.set(xlabel="block", ylabel="head", yticks=range(1, len(values) + 1, step))
