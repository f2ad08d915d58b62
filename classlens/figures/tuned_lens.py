"""Tuned lens and logit lens by block: KL divergence to the last block, and identifiability; a row per model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.grids import panel_pairs
from classlens.figures.layout import block_axes, legend_below, panel_titles
from classlens.figures.style import (
    BLUE,
    CHANCE,
    CONTROL,
    GROUP_LABELS,
    GROUP_LINES,
    ORANGE,
    SHARE_TICKS,
    Entry,
    Look,
    Models,
    chance_line,
    control_curve,
    interval_line,
    line_entry,
    line_style,
    mark_significant,
    significance_entries,
)

LENSES = {"logit_lens": (BLUE, "logit lens"), "tuned_lens": (ORANGE, "tuned lens")}
QUANTITY_LABELS = {"kl": "KL to the last block (nats)", "identifiability": "identifiability"}
STARS = {"cls": 1.14, "image": 1.07}
"""Where the stars of a group of tokens are, in identifiability."""


def draw(table: pd.DataFrame, models: Models, chances: Mapping[str, float], twin_of: Mapping[str, str]) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.tuned_lens`, with a model column and corrected p-values.
        models: name and label of each model, in display order.
        chances: by model, the mean identifiability of a random ranking.
        twin_of: by model, the name of its random twin.
    """
    figure, pairs = panel_pairs(models, height=1.9, sharey=False)
    for (left, right), (name, _) in zip(pairs, models, strict=True):
        rows, twin = (table[table["model"] == model] for model in (name, twin_of.get(name)))
        for panel, quantity in ((left, "kl"), (right, "identifiability")):
            _panel(panel, rows[rows["quantity"] == quantity], twin[twin["quantity"] == quantity])
            panel.set_ylabel(QUANTITY_LABELS[quantity])
            block_axes([panel], rows["block"])
        left.set_ylim(bottom=0)
        chance_line(right, chances[name])
        right.set(ylim=(-0.02, 1.2), yticks=SHARE_TICKS)
        seen = rows[rows["quantity"] == "identifiability"]
        for group, height in STARS.items():
            own = seen[seen["group"] == group]
            mark_significant(right, own["block"] + 1, own["significant"], height)
    panel_titles(figure, figure.axes, [title for _, label in models for title in (label, "")])
    legend_below(figure, _entries(table, has_twins=bool(twin_of)))
    return figure


def _look(colour: str, group: str) -> Look:
    return line_style(colour) | {"linestyle": GROUP_LINES[group]}


def _panel(panel: Axes, rows: pd.DataFrame, twin: pd.DataFrame) -> None:
    for group in GROUP_LINES:
        own, other = (part[part["group"] == group].sort_values("block") for part in (rows, twin))
        if group == "image":
            control_curve(panel, other["block"] + 1, other["tuned_lens"])
        for lens, (colour, _) in LENSES.items():
            if len(own):
                interval_line(panel, own["block"] + 1, own, lens, _look(colour, group), prefix=f"{lens}_")


def _entries(table: pd.DataFrame, *, has_twins: bool) -> list[Entry]:
    groups = [group for group in GROUP_LINES if group in set(table["group"])]
    lines = [
        line_entry(_look(colour, group), f"{label}, {GROUP_LABELS[group]}")
        for colour, label in LENSES.values()
        for group in groups
    ]
    twins = [line_entry(CONTROL, "tuned lens of the random twin, image tokens")] if has_twins else []
    upper = " (upper row: [CLS])" if len(groups) > 1 else ""
    differ = table["significant"] & (table["quantity"] == "identifiability")
    return [*lines, *twins, line_entry(CHANCE, "chance"), *significance_entries(differ, f"the lenses differ{upper}")]
