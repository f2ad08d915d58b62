"""Figures of a view, in the style of all figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from classlens.arrays import Array
from classlens.figures.layout import block_axes, figure_title, legend_below, panels
from classlens.figures.style import PAGE_WIDTH, Look, model_style, shared_style
from classlens.terms import chance

COLOURS = "coolwarm"
MOST, COLUMNS = 7, 4
"""Blocks that are drawn unless others are asked for; panels in a row, one of which is the photo."""
COVER = 0.6
"""Opacity of a token, so that the photo shows through, in grey."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601)."""
BAR_HEIGHT = 0.5
"""Inches, with its label."""
SITE_LABELS = {"residual": "residual stream", "attn": "attention", "mlp": "MLP"}
TOP_RANK: Look = {"marker": "o", "markersize": 2.2, "color": "white", "markeredgecolor": "0.15", "linestyle": "none"}


def spread(depth: int) -> list[int]:
    """Return at most `MOST` blocks from the first to the last."""
    return sorted({int(place) for place in np.linspace(0, depth - 1, min(MOST, depth)).round()})


def draw_blocks(
    photo: Array,
    ranks: Mapping[int, Array],
    *,
    grid: Sequence[int],
    has_class_token: bool,
    classes: int,
    title: str,
    site: str,
) -> Figure:
    """Draw a panel per block.

    Args:
        photo: (H, W, 3), between 0 and 1.
        ranks: of the class, by block from 0: (T), image tokens last.
        grid: rows and columns of image tokens.
        has_class_token: token 0 is [CLS], whose identifiability is told in the title.
        classes: C.
        title: the class.
        site: for the title.
    """
    with shared_style():
        side = PAGE_WIDTH / COLUMNS
        figure, axes = panels(1 + len(ranks), COLUMNS, side, side + 0.15)
        for panel in axes:
            panel.set_axis_off()
        axes[0].imshow(photo)
        axes[0].set_title("image")
        norm = TwoSlopeNorm(chance(classes), 0, 1)
        for panel, (block, of_block) in zip(axes[1:], ranks.items(), strict=True):
            _tokens(panel, photo, of_block[-grid[0] * grid[1] :].reshape(grid[0], grid[1]), classes, norm)
            of_cls = f", [CLS] {1 - of_block[0] / classes:.2f}" if has_class_token else ""
            panel.set_title(f"block {block + 1}{of_cls}")
        bar = figure.colorbar(
            ScalarMappable(norm, COLOURS), ax=axes, location="bottom", fraction=0.03, aspect=50, shrink=0.6
        )
        bar.set_label("identifiability (grey: chance)")
        figure.set_figheight(figure.get_figheight() + BAR_HEIGHT)
        if any((of_block[-grid[0] * grid[1] :] == 0).any() for of_block in ranks.values()):
            legend_below(figure, [(Line2D([], [], **TOP_RANK), "no class is above")])
        figure_title(figure, f"{title}, {SITE_LABELS[site]}")
    return figure


def _tokens(axes: Axes, photo: Array, ranks: Array, classes: int, norm: TwoSlopeNorm) -> None:
    height, width = photo.shape[:2]
    axes.imshow(photo @ np.array(LUMINANCE, photo.dtype), cmap="gray", vmin=-0.7, vmax=1)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(1 - ranks / classes, cmap=COLOURS, norm=norm, alpha=COVER, extent=extent, interpolation="nearest")
    rows, columns = np.nonzero(ranks == 0)
    if len(rows):
        x = (columns + 0.5) * width / ranks.shape[1] - 0.5
        axes.plot(x, (rows + 0.5) * height / ranks.shape[0] - 0.5, markeredgewidth=0.4, **TOP_RANK)


def draw_token(lines: Sequence[tuple[str, Array]], *, title: str, site: str, show: str) -> Figure:
    """Draw a line per class over blocks.

    Args:
        lines: class and values (B) of each.
        title: the token's.
        site: for the title.
        show: what the values are.
    """
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
