"""Tuned lens and logit lens by block: KL divergence to the last block, and identifiability; a row per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.csvfile import read_table
from classlens.figures.layout import block_axes, legend_below, panel_titles
from classlens.figures.style import (
    BLUE,
    GROUP_LABELS,
    ORANGE,
    PAGE_WIDTH,
    SHARE_TICKS,
    chance_entry,
    chance_line,
    interval_band,
    line_style,
    mark_significant,
    save,
    significance_entry,
    twin_curve,
    twin_entry,
)

HEIGHT = 1.9
"""Inches of a row of panels."""
LENSES = {"logit_lens": (BLUE, "logit lens"), "tuned_lens": (ORANGE, "tuned lens")}
GROUP_LINES = {"cls": "-", "image": "--"}
QUANTITY_LABELS = {"kl": "KL to the last block (nats)", "identifiability": "identifiability"}
STARS = {"cls": 1.14, "image": 1.07}
"""Where the stars of a group of tokens are, in identifiability."""


def tuned_lens(
    table: str,
    svg: str,
    png: str,
    models: Sequence[Sequence[str]],
    chances: Mapping[str, float],
    twin_of: Mapping[str, str],
) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.tuned_lens`, with a model column and corrected p-values.
        models: name and label of each model, in display order.
        chances: by model, the mean identifiability of a random ranking.
        twin_of: by model, the name of its random twin.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models, chances, twin_of), svg, png)


def _draw(
    numbers: pd.DataFrame, models: Sequence[Sequence[str]], chances: Mapping[str, float], twin_of: Mapping[str, str]
) -> Figure:
    figure = Figure(figsize=(PAGE_WIDTH, HEIGHT * len(models)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(models), 2, squeeze=False)
    for (left, right), (name, _) in zip(grid, models, strict=True):
        rows, twin = (numbers[numbers["model"] == one] for one in (name, twin_of.get(name)))
        for panel, quantity in ((left, "kl"), (right, "identifiability")):
            _panel(panel, rows[rows["quantity"] == quantity], twin[twin["quantity"] == quantity])
            panel.set_ylabel(QUANTITY_LABELS[quantity])
            block_axes([panel], rows["block"])
        left.set_ylim(bottom=0)
        chance_line(right, chances[name])
        right.set_ylim(-0.02, 1.2)
        right.set_yticks(SHARE_TICKS)
        _stars(right, rows[(rows["quantity"] == "identifiability") & rows["significant"]])
    for panel in grid[-1]:
        panel.set_xlabel("block")
    panel_titles(figure, list(grid.flat), [title for _, label in models for title in (label, "")])
    legend_below(figure, _entries(numbers, has_twins=bool(twin_of)))
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, twin: pd.DataFrame) -> None:
    for group, dashes in GROUP_LINES.items():
        own, other = (one[one["group"] == group].sort_values("block") for one in (rows, twin))
        if group == "image":
            twin_curve(panel, other["block"] + 1, other["tuned_lens"])
        for lens, (colour, _) in LENSES.items():
            if len(own):
                interval_band(panel, own["block"] + 1, own[f"{lens}_ci_low"], own[f"{lens}_ci_high"], colour)
                panel.plot(own["block"] + 1, own[lens], **line_style(colour) | {"linestyle": dashes})


def _stars(panel: Axes, rows: pd.DataFrame) -> None:
    for group, height in STARS.items():
        chosen = rows[rows["group"] == group]
        mark_significant(panel, list(chosen["block"] + 1), height)


def _entries(numbers: pd.DataFrame, *, has_twins: bool) -> list[tuple[Artist, str]]:
    groups = [group for group in GROUP_LINES if group in set(numbers["group"])]
    found: list[tuple[Artist, str]] = [
        (Line2D([], [], **line_style(colour) | {"linestyle": GROUP_LINES[group]}), f"{label}, {GROUP_LABELS[group]}")
        for colour, label in LENSES.values()
        for group in groups
    ]
    twins = [twin_entry("tuned lens of the random twin, image tokens")] if has_twins else []
    differ = numbers["significant"] & (numbers["quantity"] == "identifiability")
    upper = " (upper row: [CLS])" if len(groups) > 1 else ""
    marks = [significance_entry(f"the lenses differ{upper}")] if differ.any() else []
    return [*found, *twins, chance_entry("chance"), *marks]
