"""Box statistics from counts agree with those of the tokens themselves."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.cbook import boxplot_stats

from classlens.measures.boxes import BOX_COLUMNS, box_statistics, count_ranks


@st.composite
def histograms(draw):
    """Counts (rows, C); now and then a class with far more tokens than the others."""
    classes = draw(st.integers(1, 9))
    count = st.one_of(st.integers(0, 4), st.integers(0, 60))
    return np.array(draw(st.lists(st.lists(count, min_size=classes, max_size=classes), min_size=1, max_size=4)))


def expanded(counts):
    """The scores C - rank of all tokens of one row."""
    return np.repeat(len(counts) - np.arange(len(counts)), counts)


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
        (expected,) = boxplot_stats(expanded(counts))
        names = ("whislo", "q1", "med", "q3", "whishi")
        assert numbers == pytest.approx([expected[name] / classes for name in names], rel=1e-12)


@given(histograms())
def test_quartiles_are_those_of_numpy(histogram):
    found = box_statistics(histogram)
    for row, counts in enumerate(histogram):
        if counts.sum():
            quartiles = np.percentile(expanded(counts) / len(counts), [25, 50, 75])
            assert [found[name][row] for name in ("q1", "median", "q3")] == pytest.approx(list(quartiles), rel=1e-12)


@given(histograms())
def test_the_five_numbers_ascend_within_bounds(histogram):
    numbers = np.stack([box_statistics(histogram)[name] for name in BOX_COLUMNS])
    numbers = numbers[:, histogram.sum(1) > 0]
    assert (np.diff(numbers, axis=0) >= 0).all()
    assert (numbers > 0).all()
    assert (numbers <= 1).all()


def test_by_hand():
    # Identifiability 1 (three tokens), 0.75 (one), 0.25 (one): the last lies beyond 1.5 boxes of height 0.25.
    found = box_statistics(np.array([3, 1, 0, 1]))
    assert {name: float(value) for name, value in found.items()} == {
        "whisker_low": 0.75,
        "q1": 0.75,
        "median": 1.0,
        "q3": 1.0,
        "whisker_high": 1.0,
    }


def test_leading_axes_are_kept_and_empty_rows_are_nan():
    histogram = np.random.default_rng(0).integers(0, 5, (2, 3, 6))
    histogram[1, 2] = 0
    found = box_statistics(histogram)
    flat = box_statistics(histogram.reshape(6, 6))
    for name in BOX_COLUMNS:
        assert found[name].shape == (2, 3)
        assert np.isnan(found[name][1, 2])
        assert np.isfinite(found[name].ravel()[:5]).all()
        assert np.array_equal(found[name].ravel(), flat[name], equal_nan=True)


def test_more_tokens_than_could_be_listed():
    found = box_statistics(np.array([10**13, 10**13 + 1]))
    assert found["median"] == 0.5
    assert found["q3"] == 1.0


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.sampled_from([np.uint16, np.int32]))
def test_count_ranks(ranks, dtype):
    counts = count_ranks(np.array(ranks, dtype)[:, None], 7)
    assert counts.shape == (7,)
    assert {rank: count for rank, count in enumerate(counts) if count} == dict(Counter(ranks))
