"""Figures of a view, in the style of all figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from classlens.arrays import Array
from classlens.figures.layout import block_axes, figure_title, legend_below, panels
from classlens.figures.style import PAGE_WIDTH, model_style, shared_style

SITE_LABELS = {"residual": "residual stream", "attn": "attention", "mlp": "MLP"}


def draw_token(lines: Sequence[tuple[str, Array]], *, title: str, site: str, show: str) -> Figure:
    """Draw a line per class, values (B), over blocks; `show` is what the values are, the site is for the title."""
    with shared_style():
        figure, axes = panels(1, 1, PAGE_WIDTH / 2 + 0.5, 2.4, xlabel="block")
        entries = []
        for place, (label, values) in enumerate(lines):
            (line,) = axes[0].plot(np.arange(len(values)) + 1, values, **model_style(place))
            entries.append((line, label))
        block_axes(axes, np.arange(len(lines[0][1])))
        axes[0].set_ylabel(show)
        if show == "probability":
            axes[0].set_ylim(0, None)
        figure_title(figure, f"{title}, {SITE_LABELS[site]}")
        legend_below(figure, entries)
    return figure
