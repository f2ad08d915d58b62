"""Intervals, tests and corrections against plain loops, exact shares and hand-computed numbers."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from classlens.statistics import resampling
from classlens.statistics.agreement import spearman_of_means
from classlens.statistics.correction import corrected, with_correction
from classlens.statistics.resampling import Resampling, bootstrap_interval, sign_flip_test

ALTERNATIVES = ("greater", "less", "two-sided")


def values(seed=0, images=20, quantities=3):
    return np.random.default_rng(seed).normal(0.3, 1, (images, quantities))


def test_bootstrap_is_a_plain_loop():
    confidence = 0.9
    table = values(2).astype(np.float32)
    generator = np.random.default_rng(3)
    means = []
    for _ in range(300):
        drawn = generator.integers(0, len(table), len(table))
        means.append(sum(table[image].astype(float) for image in drawn) / len(table))
    found = bootstrap_interval(table, Resampling(300, confidence, seed=3))
    tail = 50 * (1 - confidence)
    np.testing.assert_allclose(found, np.percentile(means, [tail, 100 - tail], axis=0), rtol=1e-12)


def test_bootstrap_depends_on_the_seed_and_nothing_else(monkeypatch):
    table, draws = values(3), Resampling(200, 0.95, 0)
    first = np.array(bootstrap_interval(table, draws))
    assert np.array_equal(first, bootstrap_interval(table, draws))
    assert not np.allclose(first, bootstrap_interval(table, Resampling(200, 0.95, 1)), rtol=1e-3)
    alone = [bootstrap_interval(table[:, [k]], draws) for k in range(3)]
    np.testing.assert_allclose(first, np.array(alone)[:, :, 0].T, rtol=1e-12)
    # Held in memory at a time: one resample, or seven.
    for held in (1, 7 * len(table)):
        monkeypatch.setattr(resampling, "BATCH_VALUES", held)
        np.testing.assert_allclose(first, bootstrap_interval(table, draws), rtol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5, 0)])
def test_nothing_to_resample_or_flip_is_nan(shape):
    table, draws = np.ones(shape), Resampling(50, 0.95, 0)
    for result in (*bootstrap_interval(table, draws), sign_flip_test(table, "two-sided", draws)):
        assert result.shape == (shape[1],)
        assert np.isnan(result).all()


def flipped(differences, alternative, resamples, seed=0):
    return sign_flip_test(differences, alternative, Resampling(resamples, 0.95, seed))


def exact_p(differences, alternative):
    """Share of all sign flips that are at least as extreme; integers, so that ties are ties."""
    observed = sum(differences)
    sums = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    greater = sum(total >= observed for total in sums) / len(sums)
    less = sum(total <= observed for total in sums) / len(sums)
    return {"greater": greater, "less": less, "two-sided": min(1.0, 2 * min(greater, less))}[alternative]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=2, max_size=6),
    st.sampled_from(ALTERNATIVES),
    st.sampled_from([1.0, 0.1, 1e-9, 12345.678]),
)
def test_few_images_are_tested_exactly_and_ties_stay_ties(integers, alternative, unit):
    """A tenth is no binary fraction: sums of the same tenths in another order differ in the last digit."""
    found = flipped(np.array(integers) * unit, alternative, 64)
    assert list(found) == pytest.approx([exact_p(column, alternative) for column in np.array(integers).T], abs=1e-12)


def test_exact_only_while_all_flips_can_be_tried():
    differences = np.abs(values(5, images=6, quantities=1)) + 0.1
    assert flipped(differences, "greater", 64)[0] == pytest.approx(1 / 64)
    # Random flips: p cannot be below 1 / (n + 1), and depends on the seed.
    sampled = {flipped(differences, "greater", 63, seed)[0] * 64 for seed in range(8)}
    assert all(count >= 1 and count == pytest.approx(round(count)) for count in sampled)
    assert len(sampled) > 1


def test_p_of_random_flips():
    """p = (k + 1) / (n + 1), with k as random as n draws of the exact p make it."""
    integers, resamples = np.random.default_rng(6).integers(-4, 7, (11, 4)), 1500
    p_values = {side: flipped(integers.astype(float), side, resamples) for side in ALTERNATIVES}
    for alternative in ("greater", "less"):
        for p_value, column in zip(p_values[alternative], integers.T, strict=True):
            k = p_value * (resamples + 1) - 1
            assert k == pytest.approx(round(k), abs=1e-6)
            expected = exact_p(column, alternative)
            assert abs(k - resamples * expected) < 5 * math.sqrt(resamples * expected * (1 - expected)) + 1
    both = np.minimum(1, 2 * np.minimum(p_values["greater"], p_values["less"]))
    np.testing.assert_allclose(p_values["two-sided"], both)


@pytest.mark.parametrize(("side", "least"), [("greater", 1 / 1000), ("less", 1), ("two-sided", 2 / 1000)])
def test_one_sign_alone_is_the_extreme_and_no_difference_is_none(side, least):
    above = np.abs(values(8, images=25)) + 0.1
    assert flipped(above, side, 999) == pytest.approx(least)
    assert flipped(np.zeros((30, 2)), side, 99) == pytest.approx(1)


def test_flips_do_not_depend_on_columns_batches_or_scale(monkeypatch):
    differences = values(9, images=40)
    first = flipped(differences, "two-sided", 300, 2)
    assert np.array_equal(first, [flipped(differences[:, [k]], "two-sided", 300, 2)[0] for k in range(3)])
    assert np.array_equal(first, flipped(differences * 1e-12, "two-sided", 300, 2))
    monkeypatch.setattr(resampling, "BATCH_VALUES", 100)
    assert np.array_equal(first, flipped(differences, "two-sided", 300, 2))


def test_corrections_by_hand():
    p_values = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    # Four tests, ascending: 0.005 x 4, 0.01 x 3, 0.03 x 2, then 0.04 x 1, which must not be below the one before.
    np.testing.assert_allclose(corrected(p_values, "holm"), [0.03, 0.06, np.nan, 0.06, 0.02], rtol=1e-12)
    # 0.005 x 4/1, 0.01 x 4/2, 0.03 x 4/3, 0.04 x 4/4.
    np.testing.assert_allclose(corrected(p_values, "fdr_bh"), [0.02, 0.04, np.nan, 0.04, 0.02], rtol=1e-12)
    # Shape is kept, and no p-value exceeds 1.
    square = corrected(np.array([[0.9, 0.8], [np.nan, 0.6]]), "holm")
    np.testing.assert_allclose(square, [[1, 1], [np.nan, 1]])


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 2)])
def test_without_a_test_nothing_is_corrected(shape):
    np.testing.assert_array_equal(corrected(np.full(shape, np.nan), "holm"), np.full(shape, np.nan))


def test_an_unknown_correction_is_refused():
    with pytest.raises(ValueError, match="method"):
        corrected(np.array([0.1]), "no_such_method")


def test_significant_means_below_the_level_and_tested():
    table = pd.DataFrame({"p_value": [0.25, 0.2499, np.nan]})
    # Nothing is multiplied where there is one test alone.
    rows = [with_correction(table.iloc[[row]], "holm", 0.75) for row in range(3)]
    assert [row["significant"].item() for row in rows] == [False, True, False]
    assert np.isnan(rows[2]["p_corrected"].item())
    assert list(table) == ["p_value"]


def test_rank_correlation_is_scipys_of_the_means_and_its_interval_a_plain_loop():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(15, 6))
    second = first + generator.normal(size=(15, 6))
    second[:, 2] = second[:, 4]  # equal means share their ranks
    generator, found = np.random.default_rng(7), []
    for _ in range(200):
        drawn = generator.integers(0, 15, 15)
        found.append(spearmanr(first[drawn].mean(0), second[drawn].mean(0)).statistic)
    rho, *ends = spearman_of_means(first, second, Resampling(200, 0.9, 7))
    assert rho == pytest.approx(spearmanr(first.mean(0), second.mean(0)).statistic)
    assert ends == pytest.approx(np.percentile(found, [5, 95]))


def test_a_rank_correlation_that_cannot_be_said_is_nan():
    generator, draws = np.random.default_rng(0), Resampling(50, 0.95, 0)
    table = generator.normal(size=(5, 4))
    assert np.isnan(spearman_of_means(table, np.ones((5, 4)), draws)).all()
    rho, *ends = spearman_of_means(table[:1], table[:1], draws)
    assert rho == pytest.approx(1)
    assert np.isnan(ends).all()
