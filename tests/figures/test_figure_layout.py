"""Lines, ticks and grids, whatever the number of models and blocks and the length of labels."""

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from classlens.figures.layout import block_axes, figure_title, fitted, panel_titles, panels
from classlens.figures.style import settings as style_settings


@pytest.fixture(autouse=True, scope="module")
def shared_style():
    with matplotlib.rc_context(style_settings()):
        yield


def drawn_width(text, dpi):
    """Inches that a text takes in a figure."""
    figure = Figure(figsize=(3, 3), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    return figure.text(0, 0, text).get_window_extent(canvas.get_renderer()).width / dpi


letters = st.text(st.sampled_from("iWm@ -_/$<&.ab9"), max_size=70)


@settings(max_examples=15, deadline=None)
@given(letters, st.sampled_from([0.6, 1.4, 3.0]))
def test_fitted_texts_fit_and_lose_nothing(text, inches):
    found = fitted(text, inches)
    assert "".join(found.split()) == "".join(text.split())
    for dpi in (100, 200):
        assert drawn_width(found, dpi) <= inches + 1 / dpi


def test_texts_are_broken_between_words_and_no_more_than_needed():
    assert fitted("ViT-B/32", 3) == "ViT-B/32"
    assert fitted("", 3) == ""
    lines = fitted("a label of several words that is too long for one line", 2.0).split("\n")
    assert len(lines) == 2
    assert " ".join(lines) == "a label of several words that is too long for one line"
    # The same number of letters, wider ones.
    assert fitted("W" * 30, 2.0).count("\n") > fitted("i" * 30, 2.0).count("\n") == 0
    # One that fits nowhere is left as it is.
    assert fitted("WW", 0.01) == "WW"


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1), st.integers(1, 14))
def test_block_numbers(count, first, most):
    axes = [Figure().add_subplot()]
    blocks = np.arange(first, first + count)
    block_axes(axes, np.random.default_rng(0).permutation(np.tile(blocks, 2)), most=most)
    labels = [tick.get_text() for tick in axes[0].get_xticklabels()]
    assert len(labels) <= most
    assert labels == [f"{place:.0f}" for place in axes[0].get_xticks()]
    assert set(map(int, labels)) <= set(blocks + 1)
    if count <= most:
        assert len(labels) == count
    low, high = axes[0].get_xlim()
    assert low < first + 1
    assert high > first + count
    assert high - low == pytest.approx(count + 0.2)


def test_without_blocks_there_are_no_numbers():
    axes = [Figure().add_subplot()]
    block_axes(axes, [])
    assert axes[0].get_xticks().tolist() == []


@pytest.mark.parametrize(
    ("count", "columns", "shape"), [(1, 4, (1, 1)), (4, 4, (1, 4)), (7, 4, (2, 4)), (5, 2, (3, 2))]
)
def test_grid_of_panels(count, columns, shape):
    figure, axes = panels(count, columns, 1.5, 2.0, xlabel="block")
    assert len(axes) == len(figure.axes) == count
    assert (figure.get_figheight(), figure.get_figwidth()) == (2.0 * shape[0], 1.5 * shape[1])
    # The lowest panel of every column has the numbers and the name of the axis, and no other.
    lowest = set(range(max(0, count - shape[1]), count))
    assert {place for place, panel in enumerate(axes) if panel.get_xlabel()} == lowest
    assert {place for place, panel in enumerate(axes) if panel.xaxis.get_tick_params()["labelbottom"]} == lowest
    left = {place for place, panel in enumerate(axes) if panel.yaxis.get_tick_params()["labelleft"]}
    assert left == set(range(0, count, shape[1]))


def test_titles_of_many_lines_do_not_shrink_panels():
    def heights(label):
        figure, axes = panels(3, 2, 2.0, 1.5)
        panel_titles(figure, axes, [label, "A", "A"])
        figure_title(figure, label)
        figure.canvas.draw()
        return [panel.get_window_extent().height for panel in axes]

    assert heights("a label of several words " * 4) == pytest.approx(heights("A"), abs=3)
