"""Agreement of [CLS] in correctly minus wrongly classified images, a panel per model and branch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classlens.csvfile import read_table
from classlens.figures.branches import branch_panels
from classlens.figures.layout import legend_below
from classlens.figures.style import (
    BRANCH_COLOURS,
    BRANCH_LABELS,
    chance_entry,
    chance_line,
    interval_band,
    interval_entry,
    line_style,
    mark_significant,
    save,
    significance_entry,
)


def agreement_vs_accuracy(table: str, svg: str, png: str, models: Sequence[Sequence[str]]) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.agreement_vs_accuracy`, with a model column and corrected p-values.
        models: name and label of each model, in display order.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models), svg, png)


def _draw(numbers: pd.DataFrame, models: Sequence[Sequence[str]]) -> Figure:
    reach = numbers[["difference", "ci_low", "ci_high"]].abs().max().max()
    reach = 10.0 if pd.isna(reach) else max(10.0, float(reach))

    def panel(axes: Axes, rows: pd.DataFrame, branch: str) -> None:
        chance_line(axes, 0)
        blocks = rows["block"] + 1
        interval_band(axes, blocks, rows["ci_low"], rows["ci_high"], BRANCH_COLOURS[branch])
        axes.plot(blocks, rows["difference"], **line_style(BRANCH_COLOURS[branch]))
        mark_significant(axes, list(rows[rows["significant"]]["block"] + 1), 1.12 * reach)
        axes.set_ylim(-1.25 * reach, 1.25 * reach)

    figure = branch_panels(numbers, models, panel, "correct - wrong images (points)")
    lines = [interval_entry(BRANCH_COLOURS[branch], text) for branch, text in BRANCH_LABELS.items()]
    marks = [significance_entry("differs from zero")] if numbers["significant"].any() else []
    legend_below(figure, [*lines, chance_entry("no difference"), *marks])
    return figure
