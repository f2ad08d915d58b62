"""Effect of replacing identifiable and other image tokens on the correct class's logit, by block."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.columns import MODEL, TWIN
from classlens.figures import style
from classlens.figures.layout import block_axes, figure_title, legend_below, panels

PANELS = {
    "by identifiability": {"most_identifiable": style.BLUE, "least_identifiable": style.ORANGE, "random": style.GREY},
    "by mask": {"class": style.LABEL_COLOURS["class"], "context": style.LABEL_COLOURS["context"]},
    "by norm": {"outliers": style.PURPLE, "not_outliers": style.BROWN},
}
LABELS = {
    "most_identifiable": "most identifiable tenth",
    "least_identifiable": "least identifiable tenth",
    "random": "random tenth",
    "class": "class tokens",
    "context": "context tokens",
    "outliers": "outlier tokens",
    "not_outliers": "as many others",
}


def draw(table: pd.DataFrame, label: str) -> Figure:
    """Draw the table of `classlens.measures.token_causes`."""
    seen = table[table["images"] > 0]
    of_model, of_twin = (seen[seen["of"] == name] for name in (MODEL, TWIN))
    shown = {title: sets for title, sets in PANELS.items() if set(sets) & set(of_model["set"])}
    figure, axes = panels(len(shown), len(shown), style.PAGE_WIDTH / max(2, len(shown)), 2.3, xlabel="block")
    figure_title(figure, label)
    entries = []
    for panel, (title, sets) in zip(axes, shown.items(), strict=True):
        panel.set_title(title)
        panel.axhline(0, color="0.25", linewidth=0.8, zorder=1.5)
        for name, colour in sets.items():
            twin, rows = (part[part["set"] == name].sort_values("block") for part in (of_twin, of_model))
            if len(twin):
                style.control_curve(panel, twin["block"] + 1, twin["effect"])
            if len(rows):
                style.interval_line(
                    panel, rows["block"] + 1, rows, "effect", style.line_style(colour), prefix="effect_"
                )
                entries.append(style.line_entry(style.line_style(colour), LABELS[name]))
    block_axes(axes, table["block"])
    _stars(axes, list(shown.values()), of_model)
    axes[0].set_ylabel("effect on the logit")
    twins = [style.line_entry(style.CONTROL, "random twin")] if len(of_twin) else []
    marks = style.significance_entries(of_model["significant"], "differs from its reference")
    legend_below(figure, [*entries, *twins, *marks])
    return figure


def _stars(axes: list[Axes], shown: list[dict[str, str]], rows: pd.DataFrame) -> None:
    """Put a star above each block where a set differs from what it is compared with, in its colour."""
    low, high = axes[0].get_ylim()
    step = 0.06 * (high - low)
    for panel, sets in zip(axes, shown, strict=True):
        for place, (name, colour) in enumerate(sets.items()):
            own = rows[rows["set"] == name]
            style.mark_significant(panel, own["block"] + 1, own["significant"], high + (0.5 + place) * step, colour)
    axes[0].set_ylim(low, high + 2.5 * step)
