"""Tuned lens and logit lens by block: KL divergence to the last block, and identifiability; a row per model."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.grids import panel_pairs
from classlens.figures.layout import block_axes, legend_below, panel_titles

LENSES = {"logit_lens": (style.BLUE, "logit lens"), "tuned_lens": (style.ORANGE, "tuned lens")}
QUANTITY_LABELS = {"kl": "KL to the last block (nats)", "identifiability": "identifiability"}
STARS = {"cls": 1.14, "image": 1.07}
"""Where the stars of a group of tokens are, in identifiability."""


def draw(table: pd.DataFrame, models: style.Models, chances: style.Chances, twin_of: style.Twins) -> Figure:
    """Draw the table of `classlens.measures.tuned_lens`, with a model column and corrected p-values."""
    figure, pairs = panel_pairs(models, height=1.9, sharey=False)
    for (left, right), (name, _) in zip(pairs, models, strict=True):
        rows, twin = (table[table["model"] == model] for model in (name, twin_of.get(name)))
        for panel, quantity in ((left, "kl"), (right, "identifiability")):
            _panel(panel, rows[rows["quantity"] == quantity], twin[twin["quantity"] == quantity])
            panel.set_ylabel(QUANTITY_LABELS[quantity])
            block_axes([panel], rows["block"])
        left.set_ylim(bottom=0)
        style.chance_line(right, chances[name])
        right.set(ylim=(-0.02, 1.2), yticks=style.SHARE_TICKS)
        seen = rows[rows["quantity"] == "identifiability"]
        for group, height in STARS.items():
            own = seen[seen["group"] == group]
            style.mark_significant(right, own["block"] + 1, own["significant"], height)
    panel_titles(figure, figure.axes, [title for _, label in models for title in (label, "")])
    legend_below(figure, _entries(table, has_twins=bool(twin_of)))
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, twin: pd.DataFrame) -> None:
    for group in style.GROUP_LINES:
        own, other = (part[part["group"] == group].sort_values("block") for part in (rows, twin))
        if group == "image":
            style.control_curve(panel, other["block"] + 1, other["tuned_lens"])
        for lens, (colour, _) in LENSES.items():
            if len(own):
                look = style.group_line(colour, group)
                style.interval_line(panel, own["block"] + 1, own, lens, look, prefix=f"{lens}_")


def _entries(table: pd.DataFrame, *, has_twins: bool) -> list[style.Entry]:
    groups = style.groups_in(table)
    lines = [
        style.line_entry(style.group_line(colour, group), f"{label}, {style.GROUP_LABELS[group]}")
        for colour, label in LENSES.values()
        for group in groups
    ]
    twins = [style.line_entry(style.CONTROL, "tuned lens of the random twin, image tokens")] if has_twins else []
    upper = " (upper row: [CLS])" if len(groups) > 1 else ""
    differ = table["significant"] & (table["quantity"] == "identifiability")
    marks = style.significance_entries(differ, f"the lenses differ{upper}")
    return [*lines, *twins, style.line_entry(style.CHANCE, "chance"), *marks]
