"""Agreement of [CLS] in correctly minus wrongly classified images, a panel per model and branch."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.grids import branch_panels
from classlens.figures.layout import legend_below


def draw(table: pd.DataFrame, models: style.Models) -> Figure:
    """Draw the table of `classlens.measures.agreement_vs_accuracy`, with a model column and corrected p-values."""
    reach = table[["difference", "ci_low", "ci_high"]].abs().max().max()
    reach = 10.0 if pd.isna(reach) else max(10.0, float(reach))

    def panel(axes: Axes, rows: pd.DataFrame, branch: str) -> None:
        style.chance_line(axes, 0)
        blocks = rows["block"] + 1
        style.interval_line(axes, blocks, rows, "difference", style.line_style(style.BRANCH_COLOURS[branch]))
        style.mark_significant(axes, blocks, rows["significant"], 1.12 * reach)
        axes.set_ylim(-1.25 * reach, 1.25 * reach)

    figure = branch_panels(table, models, panel, "correct - wrong images (points)")
    marks = style.significance_entries(table["significant"], "differs from zero")
    legend_below(figure, [*style.branch_entries(), style.line_entry(style.CHANCE, "no difference"), *marks])
    return figure
