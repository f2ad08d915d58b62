"""Box statistics from counts agree with those of the tokens themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_files import box_of

from classlens.columns import BOX_COLUMNS
from classlens.measures.boxes import box_statistics, count_ranks


@st.composite
def histograms(draw):
    """Counts (rows, C); now and then a class with far more tokens than the others."""
    classes = draw(st.integers(1, 9))
    count = st.one_of(st.integers(0, 4), st.integers(0, 60))
    return np.array(draw(st.lists(st.lists(count, min_size=classes, max_size=classes), min_size=1, max_size=4)))


@settings(max_examples=40, deadline=None)
@given(histograms())
def test_as_matplotlib_draws_the_tokens(histogram):
    found = box_statistics(histogram)
    classes = histogram.shape[1]
    for row, counts in enumerate(histogram):
        numbers = [found[name][row] for name in BOX_COLUMNS]
        if not counts.sum():
            assert np.isnan(numbers).all()
            continue
        # Of the integer scores, so that no rounding moves a token across a whisker's reach.
        scores = np.repeat(classes - np.arange(classes), counts)
        assert numbers == pytest.approx(np.array(box_of(scores)) / classes, rel=1e-12)


def test_by_hand():
    # Identifiability 1 (three tokens), 0.75 (one), 0.25 (one): the last lies beyond 1.5 boxes of height 0.25.
    found = box_statistics(np.array([3, 1, 0, 1]))
    assert {name: float(value) for name, value in found.items()} == dict(
        zip(BOX_COLUMNS, (0.75, 0.75, 1, 1, 1), strict=True)
    )


def test_leading_axes_are_kept():
    histogram = np.random.default_rng(0).integers(0, 5, (2, 3, 6))
    histogram[1, 2] = 0
    found = box_statistics(histogram)
    flat = box_statistics(histogram.reshape(6, 6))
    for name in BOX_COLUMNS:
        assert found[name].shape == (2, 3)
        assert np.array_equal(found[name].ravel(), flat[name], equal_nan=True)


def test_more_tokens_than_could_be_listed():
    found = box_statistics(np.array([10**13, 10**13 + 1]))
    assert found["median"] == 0.5
    assert found["q3"] == 1.0


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_count_ranks(dtype):
    assert count_ranks(np.array([[3], [0], [3], [6], [3]], dtype), 7).tolist() == [1, 0, 0, 3, 0, 0, 1]
