"""Effect of replacing identifiable and other image tokens on the correct class's logit, by block."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.columns import MODEL, TWIN
from classlens.csvfile import read_table
from classlens.figures.layout import block_axes, figure_title, legend_below, panels
from classlens.figures.style import (
    BLUE,
    BROWN,
    GREY,
    LABEL_COLOURS,
    ORANGE,
    PAGE_WIDTH,
    PURPLE,
    interval_band,
    interval_entry,
    line_style,
    mark_significant,
    save,
    significance_entry,
    twin_curve,
    twin_entry,
)

PANELS = {
    "by identifiability": {"most_identifiable": BLUE, "least_identifiable": ORANGE, "random": GREY},
    "by mask": {"class": LABEL_COLOURS["class"], "context": LABEL_COLOURS["context"]},
    "by norm": {"outliers": PURPLE, "not_outliers": BROWN},
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


def token_causes(table: str, svg: str, png: str, label: str) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.token_causes`.
        label: the model's.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, label), svg, png)


def _draw(numbers: pd.DataFrame, label: str) -> Figure:
    seen = numbers[numbers["images"] > 0]
    of_model, of_twin = (seen[seen["of"] == name] for name in (MODEL, TWIN))
    shown = {title: sets for title, sets in PANELS.items() if set(sets) & set(of_model["set"])}
    figure, axes = panels(len(shown), len(shown), PAGE_WIDTH / max(2, len(shown)), 2.3, xlabel="block")
    figure_title(figure, label)
    entries = []
    for panel, (title, sets) in zip(axes, shown.items(), strict=True):
        panel.set_title(title)
        panel.axhline(0, color="0.25", linewidth=0.8, zorder=1.5)
        for name, colour in sets.items():
            twin, rows = (one[one["set"] == name].sort_values("block") for one in (of_twin, of_model))
            if len(twin):
                twin_curve(panel, twin["block"] + 1, twin["effect"])
            if len(rows):
                interval_band(panel, rows["block"] + 1, rows["effect_ci_low"], rows["effect_ci_high"], colour)
                panel.plot(rows["block"] + 1, rows["effect"], **line_style(colour))
                entries.append(interval_entry(colour, LABELS[name]))
    block_axes(axes, numbers["block"])
    _stars(axes, list(shown.values()), of_model)
    axes[0].set_ylabel("effect on the logit")
    marks = [significance_entry("differs from its reference")] if of_model["significant"].any() else []
    legend_below(figure, [*entries, *([twin_entry("random twin")] if len(of_twin) else []), *marks])
    return figure


def _stars(axes: list[Axes], shown: list[dict[str, str]], rows: pd.DataFrame) -> None:
    """Put a star above each block where a set differs from what it is compared with, in its colour."""
    low, high = axes[0].get_ylim()
    step = 0.06 * (high - low)
    for panel, sets in zip(axes, shown, strict=True):
        for place, (name, colour) in enumerate(sets.items()):
            chosen = rows[(rows["set"] == name) & rows["significant"]]
            mark_significant(panel, list(chosen["block"] + 1), high + (0.5 + place) * step, colour)
    axes[0].set_ylim(low, high + 2.5 * step)
