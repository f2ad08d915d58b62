"""Box statistics from counts agree with those of the tokens themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_files import box_of

from classlens.columns import BOX_COLUMNS
from classlens.measures.boxes import box_statistics, boxes_of_rows, count_ranks


@st.composite
def histograms(draw):
    """Counts (1, rows, C); now and then a class with far more tokens than the others."""
    classes = draw(st.integers(1, 9))
    count = st.one_of(st.integers(0, 4), st.integers(0, 60))
    return np.array([draw(st.lists(st.lists(count, min_size=classes, max_size=classes), min_size=1, max_size=4))])


@settings(max_examples=40, deadline=None)
@given(histograms())
def test_as_matplotlib_draws_the_tokens(histograms):
    found, classes = box_statistics(histograms), histograms.shape[-1]
    for row, counts in enumerate(histograms[0]):
        # Of the integer scores, so that no rounding moves a token across a whisker's reach.
        scores = np.repeat(classes - np.arange(classes), counts)
        expected = np.array(box_of(scores)) / classes
        assert [found[name][0, row] for name in BOX_COLUMNS] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_more_tokens_than_could_be_listed():
    found = box_statistics(np.array([10**13, 10**13 + 1]))
    assert found["median"] == 0.5
    assert found["q3"] == 1.0


def test_boxes_of_numbers_are_those_of_matplotlib():
    random = np.random.default_rng(0)
    # With few numbers a quartile lies between two of them, and the outer one may be out of reach.
    few = np.array([[0.0, 0.0, 0.0, 100.0]])
    for values in (random.standard_t(2, (5, 101)), np.ones((1, 101)), few):
        boxes = boxes_of_rows(values)
        for row, own in enumerate(values):
            assert [boxes[name][row] for name in BOX_COLUMNS] == pytest.approx(box_of(own))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_count_ranks(dtype):
    assert count_ranks(np.array([[3], [0], [3], [6], [3]], dtype), 7).tolist() == [1, 0, 0, 3, 0, 0, 1]
