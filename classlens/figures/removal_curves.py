"""Accuracy while tokens are removed in the order of each explanation, for one model."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from matplotlib.figure import Figure

from classlens.figures import style
from classlens.figures.layout import figure_title, legend_below, panels

DIRECTION_TITLES = {"negative": "least important removed first", "positive": "most important removed first"}


def draw(table: pd.DataFrame, label: str, method_labels: style.MethodLabels, axis: str | None = None) -> Figure:
    """Draw the table of `classlens.measures.removal_curves`; where it has no accuracies, `axis` says what it has."""
    figure, axes = panels(2, 2, style.PAGE_WIDTH / 2, 2.6, xlabel="image tokens removed (%)")
    figure_title(figure, label)
    looks = method_looks(method_labels, set(table["method"]))
    whole = table[table["n_removed"] == 0]["accuracy"]
    for panel, (direction, title) in zip(axes, DIRECTION_TITLES.items(), strict=True):
        if len(whole):
            style.chance_line(panel, whole.iloc[0])
        for method, look in looks.items():
            chosen = (table["method"] == method) & (table["direction"] == direction)
            rows = table[chosen].sort_values("n_removed")
            if rows["accuracy_low"].notna().all():
                low, high = rows["accuracy_low"], rows["accuracy_high"]
                style.interval_band(panel, rows["percent_removed"], low, high, look["color"])
            panel.plot(rows["percent_removed"], rows["accuracy"], **look)
        panel.set(title=title, xlim=(-2, 102), **({} if axis else {"ylim": (-0.02, 1.03), "yticks": style.SHARE_TICKS}))
    axes[0].set_ylabel(axis or "accuracy")
    areas = table.drop_duplicates(["method", "direction"]).set_index(["method", "direction"])["auc"]
    entries = [
        style.line_entry(
            look, f"{method_labels[method]} ({areas[method, 'negative']:.2f} / {areas[method, 'positive']:.2f})"
        )
        for method, look in looks.items()
    ]
    legend_below(figure, [*entries, style.line_entry(style.CHANCE, "no token removed")])
    return figure


def method_looks(labels: style.MethodLabels, present: Collection[str]) -> dict[str, style.Look]:
    """Return the looks of those explanations that are present, the same in every figure; `random` comes last."""
    methods = [method for method in labels if method != "random"]
    looks = {method: style.model_style(index) | {"markersize": 2.5} for index, method in enumerate(methods)}
    return {method: look for method, look in {**looks, "random": style.RANDOM}.items() if method in present}
