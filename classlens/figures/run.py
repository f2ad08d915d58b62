"""The job of every figure: reads what it is drawn from, draws it in the shared style, and saves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from matplotlib.figure import Figure

from classlens.csvfile import read_table
from classlens.figures.style import shared_style


def draw_figure(svg: str, png: str, draw: Callable[..., Figure], settings: Mapping[str, Any], **inputs: str) -> None:
    """Draw a figure and save it twice; the same inputs and settings give the same bytes.

    Args:
        svg, png: the files to write.
        draw: of a module in `classlens.figures`; called with `inputs` and `settings` by keyword.
        settings: what `draw` takes besides data.
        inputs: files by keyword of `draw`, which gets a data frame of .csv and the open file of .h5.
    """
    with ExitStack() as files, shared_style():
        figure = draw(**{name: _opened(path, files) for name, path in inputs.items()}, **settings)
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
        figure.savefig(png, metadata={"Software": None})


def _opened(path: str, files: ExitStack) -> Any:
    if path.endswith(".csv"):
        return read_table(path)
    from classlens.h5 import h5py  # Not above: all figures but heat maps do without it.

    return files.enter_context(h5py.File(path))
