"""What heads write into the logit against what becomes of it without them, a dot per head."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from classlens.columns import MODEL, TWIN
from classlens.figures.layout import figure_title, fitted, legend_below, new_figure
from classlens.figures.style import CHANCE, MARK_COLOUR, PAGE_WIDTH, line_entry

COLOURS = "viridis"
HEIGHT = 2.9
"""Inches, without title and legend."""
PANEL = 2.7
"""Inches that a panel's title may take."""
NAMED = 4
"""Heads furthest from the diagonal whose names are written beside them."""
MOST_TICKS = 12
"""Of the colour bar."""


def draw(table: pd.DataFrame, agreement: pd.DataFrame, label: str) -> Figure:
    """Draw the tables of `classlens.measures.head_causes`; without direct contributions effects stand over blocks."""
    correlations = agreement.set_index("of")
    names = [name for name in (MODEL, TWIN) if name in correlations.index]
    figure = new_figure(PAGE_WIDTH if len(names) > 1 else PAGE_WIDTH / 2 + 0.6, HEIGHT)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    figure_title(figure, label)
    blocks = int(table["block"].max()) + 1
    colours = BoundaryNorm(np.arange(blocks + 1) + 0.5, 256)
    for panel, name in zip(axes, names, strict=True):
        rows = table[table["of"] == name]
        shown, whose = _panel(panel, rows, colours), "random twin" if name == TWIN else "model"
        if not _writes(rows):
            panel.set(title=whose, xlabel="block")
            continue
        rho, low, high = correlations.loc[name, ["spearman", "ci_low", "ci_high"]].to_numpy(dtype=float).tolist()
        interval = "" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"
        panel.set_title(fitted(f"{whose}: Spearman {rho:.2f}{interval}", PANEL))
        panel.set_xlabel("direct contribution to the logit")
    axes[0].set_ylabel("effect of ablation on the logit")
    step = -(-blocks // MOST_TICKS)
    figure.colorbar(shown, ax=list(axes), label="block", ticks=np.arange(step, blocks + 1, step))
    if _writes(table):
        legend_below(figure, [line_entry(CHANCE, "effect = direct contribution")])
    return figure


def _writes(rows: pd.DataFrame) -> bool:
    """Tell whether the output is a sum of what heads write into it, so that there are direct contributions."""
    return bool(rows["direct"].notna().all())


def _panel(axes: Axes, rows: pd.DataFrame, colours: BoundaryNorm) -> PathCollection:
    writes = _writes(rows)
    x = (rows["direct"] if writes else rows["block"] + 1).to_numpy(dtype=float)
    y = rows["effect"].to_numpy(dtype=float)
    if writes:
        axes.hlines(y, rows["direct_ci_low"], rows["direct_ci_high"], color="0.75", linewidth=0.6, zorder=1.8)
    axes.vlines(x, rows["effect_ci_low"], rows["effect_ci_high"], color="0.75", linewidth=0.6, zorder=1.8)
    shown = axes.scatter(x, y, c=rows["block"] + 1, cmap=COLOURS, norm=colours, s=14, linewidths=0, zorder=2.5)
    if writes:
        axes.axline((0, 0), slope=1, **CHANCE)
    for place in np.argsort(-np.abs(y - x if writes else y), kind="stable")[:NAMED]:
        row = rows.iloc[place]
        name = f"{int(row['block']) + 1}.{int(row['head']) + 1}"
        axes.annotate(name, (x[place], y[place]), (3, 3), textcoords="offset points", color=MARK_COLOUR, zorder=3)
    axes.margins(0.12)
    return shown
