"""Share of outlier tokens by block, and their identifiability beside that of the others; a row of panels per model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from classlens.figures.grids import panel_pairs
from classlens.figures.layout import block_axes, legend_below, panel_titles
from classlens.figures.style import (
    CHANCE,
    CONTROL,
    ORANGE,
    PURPLE,
    SHARE_TICKS,
    Models,
    chance_line,
    control_curve,
    interval_line,
    line_entry,
    line_style,
    mark_significant,
    significance_entries,
)

OUTLIERS, OTHERS = line_style(PURPLE), line_style(ORANGE)
SHARES = ["share", "share_ci_low", "share_ci_high"]


def draw(table: pd.DataFrame, models: Models, chances: Mapping[str, float], twin_of: Mapping[str, str]) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.outlier_tokens`, with a model column.
        models: name and label of each model, in display order.
        chances: by model, the mean identifiability of a random ranking.
        twin_of: by model, the name of its random twin.
    """
    figure, pairs = panel_pairs(models, height=1.7, sharey="col")
    for (left, right), (name, _) in zip(pairs, models, strict=True):
        rows, twin = (table[table["model"] == model].sort_values("block") for model in (name, twin_of.get(name)))
        x = rows["block"] + 1
        interval_line(left, x, 100 * rows[SHARES], "share", OUTLIERS, prefix="share_")
        control_curve(left, twin["block"] + 1, 100 * twin["share"])
        left.set_ylabel("outliers (%)")
        chance_line(right, chances[name])
        right.plot(x, rows["others_mean"], **OTHERS)
        right.plot(x, rows["outliers_mean"], **OUTLIERS)
        mark_significant(right, x, rows["significant"], 1.09)
        right.set(ylabel="identifiability", ylim=(-0.02, 1.16), yticks=SHARE_TICKS)
        for panel in (left, right):
            block_axes([panel], rows["block"])
    panel_titles(figure, figure.axes, [label for _, label in models for _ in range(2)])
    lines = [line_entry(OUTLIERS, "outlier tokens"), line_entry(OTHERS, "other image tokens")]
    twins = [line_entry(CONTROL, "random twin")] if twin_of else []
    marks = significance_entries(table["significant"], "outliers and others differ")
    legend_below(figure, [*lines, *twins, line_entry(CHANCE, "chance"), *marks])
    return figure
