"""How well explanations find the object: a panel per score, a bar per method and model."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from classlens.columns import SCORES
from classlens.figures.layout import legend_below, panels
from classlens.figures.removal_curves import method_looks
from classlens.figures.style import PAGE_WIDTH, SHARE_TICKS, MethodLabels, Models, model_style

SCORE_TITLES = {
    "pointing_game": "pointing game",
    "pixel_accuracy": "pixel accuracy",
    "average_precision": "average precision",
    "iou": "intersection over union",
}


def draw(table: pd.DataFrame, models: Models, method_labels: MethodLabels) -> Figure:
    """Draw the table of `classlens.measures.segmentation_scores`, with a model column."""
    methods = list(method_looks(method_labels, set(table["method"])))
    figure, axes = panels(len(SCORES), 2, PAGE_WIDTH / 2, 2.4)
    width = 0.8 / len(models)
    for panel, score in zip(axes, SCORES, strict=True):
        for index, (name, _) in enumerate(models):
            chosen = table[(table["model"] == name) & (table["score"] == score)].set_index("method")
            present = [method for method in methods if method in chosen.index]
            rows = chosen.loc[present]
            centres = [methods.index(method) + (index - (len(models) - 1) / 2) * width for method in present]
            colour = model_style(index)["color"]
            panel.bar(centres, rows["mean"], width=width, color=colour, edgecolor="white", linewidth=0.4, zorder=2)
            errors = [rows["mean"] - rows["ci_low"], rows["ci_high"] - rows["mean"]]
            panel.errorbar(centres, rows["mean"], yerr=errors, fmt="none", ecolor="0.15", elinewidth=0.8, zorder=3)
        panel.set(title=SCORE_TITLES[score], ylim=(0, 1.03), yticks=SHARE_TICKS)
        panel.grid(visible=False, axis="x")
    axes[0].set_xticks(range(len(methods)), [method_labels[method] for method in methods])
    for panel in axes:
        panel.tick_params(axis="x", labelrotation=40)
        for text in panel.get_xticklabels():
            text.set(horizontalalignment="right", rotation_mode="anchor")
    legend_below(figure, [(Patch(color=model_style(i)["color"]), label) for i, (_, label) in enumerate(models)])
    return figure
