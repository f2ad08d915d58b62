"""How well explanations find the object: a panel per score, a bar per method and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from classlens.columns import SCORES
from classlens.csvfile import read_table
from classlens.figures.layout import legend_below, panels
from classlens.figures.removal_curves import method_looks
from classlens.figures.style import PAGE_WIDTH, SHARE_TICKS, model_style, save

SCORE_TITLES = {
    "pointing_game": "pointing game",
    "pixel_accuracy": "pixel accuracy",
    "average_precision": "average precision",
    "iou": "intersection over union",
}


def segmentation_scores(
    table: str, svg: str, png: str, models: Sequence[Sequence[str]], method_labels: Mapping[str, str]
) -> None:
    """Draw the figure.

    Args:
        table: see `classlens.measures.segmentation_scores`, with a model column.
        models: name and label of each model, in display order.
        method_labels: see `classlens.figures.removal_curves`.
    """
    numbers = read_table(table)
    save(lambda: _draw(numbers, models, method_labels), svg, png)


def _draw(numbers: pd.DataFrame, models: Sequence[Sequence[str]], names: Mapping[str, str]) -> Figure:
    methods = list(method_looks(names, set(numbers["method"])))
    figure, axes = panels(len(SCORES), 2, PAGE_WIDTH / 2, 2.4)
    width = 0.8 / len(models)
    for panel, score in zip(axes, SCORES, strict=True):
        for index, (name, _) in enumerate(models):
            chosen = numbers[(numbers["model"] == name) & (numbers["score"] == score)].set_index("method")
            present = [method for method in methods if method in chosen.index]
            rows = chosen.loc[present]
            centres = [methods.index(method) + (index - (len(models) - 1) / 2) * width for method in present]
            colour = model_style(index)["color"]
            panel.bar(centres, rows["mean"], width=width, color=colour, edgecolor="white", linewidth=0.4, zorder=2)
            errors = [rows["mean"] - rows["ci_low"], rows["ci_high"] - rows["mean"]]
            panel.errorbar(centres, rows["mean"], yerr=errors, fmt="none", ecolor="0.15", elinewidth=0.8, zorder=3)
        panel.set_title(SCORE_TITLES[score])
        panel.set_ylim(0, 1.03)
        panel.set_yticks(SHARE_TICKS)
        panel.grid(visible=False, axis="x")
    labels = [names[method] for method in methods]
    axes[0].set_xticks(range(len(methods)), labels)
    for panel in axes:
        panel.tick_params(axis="x", labelrotation=40)
        for text in panel.get_xticklabels():
            text.set_horizontalalignment("right")
            text.set_rotation_mode("anchor")
    legend_below(figure, [(Patch(color=model_style(i)["color"]), label) for i, (_, label) in enumerate(models)])
    return figure
