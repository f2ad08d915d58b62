"""Agreement of [CLS] in correctly minus wrongly classified images, a panel per model and branch."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.figures.grids import branch_panels
from classlens.figures.layout import legend_below
from classlens.figures.style import (
    BRANCH_COLOURS,
    CHANCE,
    Models,
    branch_entries,
    chance_line,
    interval_line,
    line_entry,
    line_style,
    mark_significant,
    significance_entries,
)


def draw(table: pd.DataFrame, models: Models) -> Figure:
    """Draw the figure.

    Args:
        table: see `classlens.measures.agreement_vs_accuracy`, with a model column and corrected p-values.
        models: name and label of each model, in display order.
    """
    reach = table[["difference", "ci_low", "ci_high"]].abs().max().max()
    reach = 10.0 if pd.isna(reach) else max(10.0, float(reach))

    def panel(axes: Axes, rows: pd.DataFrame, branch: str) -> None:
        chance_line(axes, 0)
        blocks = rows["block"] + 1
        interval_line(axes, blocks, rows, "difference", line_style(BRANCH_COLOURS[branch]))
        mark_significant(axes, blocks, rows["significant"], 1.12 * reach)
        axes.set_ylim(-1.25 * reach, 1.25 * reach)

    figure = branch_panels(table, models, panel, "correct - wrong images (points)")
    marks = significance_entries(table["significant"], "differs from zero")
    legend_below(figure, [*branch_entries(), line_entry(CHANCE, "no difference"), *marks])
    return figure
