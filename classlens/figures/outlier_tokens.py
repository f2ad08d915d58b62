"""Share of outlier tokens by block, and their identifiability beside that of the others; a row of panels per model."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.grids import panel_pairs
from classlens.figures.layout import block_axes, legend_below, panel_titles

OUTLIERS, OTHERS = style.line_style(style.PURPLE), style.line_style(style.ORANGE)
SHARES = ["share", "share_ci_low", "share_ci_high"]


def draw(table: pd.DataFrame, models: style.Models, chances: style.Chances, twin_of: style.Twins) -> Figure:
    """Draw the table of `classlens.measures.outlier_tokens`, with a model column."""
    figure, pairs = panel_pairs(models, height=1.7, sharey="col")
    for (left, right), (name, _) in zip(pairs, models, strict=True):
        rows, twin = (table[table["model"] == model].sort_values("block") for model in (name, twin_of.get(name)))
        x = rows["block"] + 1
        style.interval_line(left, x, 100 * rows[SHARES], "share", OUTLIERS, prefix="share_")
        style.control_curve(left, twin["block"] + 1, 100 * twin["share"])
        left.set_ylabel("outliers (%)")
        style.chance_line(right, chances[name])
        right.plot(x, rows["others_mean"], **OTHERS)
        right.plot(x, rows["outliers_mean"], **OUTLIERS)
        style.mark_significant(right, x, rows["significant"], 1.09)
        right.set(ylabel="identifiability", ylim=(-0.02, 1.16), yticks=style.SHARE_TICKS)
        for panel in (left, right):
            block_axes([panel], rows["block"])
    panel_titles(figure, figure.axes, [label for _, label in models for _ in range(2)])
    lines = [style.line_entry(OUTLIERS, "outlier tokens"), style.line_entry(OTHERS, "other image tokens")]
    twins = [style.line_entry(style.CONTROL, "random twin")] if twin_of else []
    marks = style.significance_entries(table["significant"], "outliers and others differ")
    legend_below(figure, [*lines, *twins, style.line_entry(style.CHANCE, "chance"), *marks])
    return figure
