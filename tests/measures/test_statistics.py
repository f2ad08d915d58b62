"""Intervals, tests and corrections against scipy, plain loops and hand-computed numbers."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.measures import statistics
from classlens.measures.statistics import bootstrap_interval, corrected, sign_flip_test

ALTERNATIVES = ("greater", "less", "two-sided")


def values(seed=0, images=20, quantities=3):
    return np.random.default_rng(seed).normal(0.3, 1, (images, quantities))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_bootstrap_is_that_of_scipy(confidence):
    column = values(1)[:, :1]
    low, high = bootstrap_interval(column, 500, confidence, seed=7)
    expected = scipy.stats.bootstrap(
        (column[:, 0],),
        np.mean,
        n_resamples=500,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_bootstrap_is_a_plain_loop():
    table = values(2)
    generator = np.random.default_rng(3)
    means = []
    for _ in range(300):
        drawn = generator.integers(0, len(table), len(table))
        means.append(sum(table[image] for image in drawn) / len(table))
    low, high = bootstrap_interval(table, 300, 0.95, seed=3)
    np.testing.assert_allclose(low, np.percentile(means, 2.5, axis=0), rtol=1e-12)
    np.testing.assert_allclose(high, np.percentile(means, 97.5, axis=0), rtol=1e-12)


def test_bootstrap_depends_on_the_seed_and_nothing_else(monkeypatch):
    table = values(3)
    first = np.array(bootstrap_interval(table, 200, 0.95, 0))
    assert np.array_equal(first, bootstrap_interval(table, 200, 0.95, 0))
    assert not np.allclose(first, bootstrap_interval(table, 200, 0.95, 1), rtol=1e-3)
    alone = [bootstrap_interval(table[:, [k]], 200, 0.95, 0) for k in range(3)]
    np.testing.assert_allclose(first, np.array(alone)[:, :, 0].T, rtol=1e-12)
    # Held in memory at a time: one resample, or seven.
    for held in (1, 7 * len(table)):
        monkeypatch.setattr(statistics, "BATCH_VALUES", held)
        np.testing.assert_allclose(first, bootstrap_interval(table, 200, 0.95, 0), rtol=1e-12)


def test_bootstrap_covers_the_mean_and_narrows():
    low, high = bootstrap_interval(values(4, images=400), 300, 0.95, 0)
    mean = values(4, images=400).mean(0)
    assert ((low < mean) & (mean < high)).all()
    # 1.96 standard errors of a unit variance to either side.
    np.testing.assert_allclose(high - low, 2 * 1.96 / 20, rtol=0.2)
    narrow_low, narrow_high = bootstrap_interval(values(4, images=400), 300, 0.5, 0)
    assert (narrow_high - narrow_low < 0.5 * (high - low)).all()


def test_bootstrap_of_equal_images_has_no_width():
    low, high = bootstrap_interval(np.full((9, 2), 0.7, np.float32), 50, 0.95, 0)
    np.testing.assert_allclose([low, high], np.float32(0.7), rtol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5, 0)])
def test_nothing_to_resample_or_flip_is_nan(shape):
    table = np.ones(shape)
    for result in (*bootstrap_interval(table, 50, 0.95, 0), sign_flip_test(table, "two-sided", 50, 0)):
        assert result.shape == (shape[1],)
        assert np.isnan(result).all()


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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=2, max_size=6),
    st.sampled_from(ALTERNATIVES),
    st.sampled_from([1.0, 0.1, 1e-9, 12345.678]),
)
def test_few_images_are_tested_exactly_and_ties_stay_ties(integers, alternative, unit):
    """A tenth is no binary fraction: sums of the same tenths in another order differ in the last digit."""
    found = sign_flip_test(np.array(integers) * unit, alternative, 64, seed=0)
    assert list(found) == pytest.approx([exact_p(column, alternative) for column in np.array(integers).T], abs=1e-12)


def test_exact_only_while_all_flips_can_be_tried():
    differences = np.abs(values(5, images=6, quantities=1)) + 0.1
    assert sign_flip_test(differences, "greater", 64, 0)[0] == pytest.approx(1 / 64)
    # Random flips: p cannot be below 1 / (n + 1), and depends on the seed.
    sampled = {sign_flip_test(differences, "greater", 63, seed)[0] * 64 for seed in range(8)}
    assert all(count >= 1 and count == pytest.approx(round(count)) for count in sampled)
    assert len(sampled) > 1


def test_p_of_random_flips():
    """p = (k + 1) / (n + 1), with k as random as n draws of the exact p make it."""
    integers = np.random.default_rng(6).integers(-4, 7, (11, 4))
    resamples = 1500
    for alternative in ("greater", "less"):
        found = sign_flip_test(integers.astype(float), alternative, resamples, seed=0)
        for p_value, column in zip(found, integers.T, strict=True):
            k = p_value * (resamples + 1) - 1
            assert k == pytest.approx(round(k), abs=1e-6)
            expected = exact_p(column, alternative)
            assert abs(k - resamples * expected) < 5 * math.sqrt(resamples * expected * (1 - expected)) + 1


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_sign_flips_are_those_of_scipy(alternative):
    differences = values(7, images=30)
    found = sign_flip_test(differences, alternative, 400, seed=5)
    for column, p_value in zip(differences.T, found, strict=True):
        expected = scipy.stats.permutation_test(
            (column,),
            np.mean,
            permutation_type="samples",
            n_resamples=400,
            alternative=alternative,
            rng=np.random.default_rng(5),
        )
        assert p_value == pytest.approx(expected.pvalue, rel=1e-12)


def test_sides():
    differences = values(8, images=25)
    greater, less, both = (sign_flip_test(differences, side, 999, 0) for side in ALTERNATIVES)
    assert np.array_equal(sign_flip_test(-differences, "less", 999, 0), greater)
    np.testing.assert_allclose(both, np.minimum(1, 2 * np.minimum(greater, less)))
    above = np.abs(differences) + 0.1
    assert sign_flip_test(above, "greater", 999, 0) == pytest.approx(1 / 1000)
    assert sign_flip_test(above, "less", 999, 0) == pytest.approx(1)
    assert sign_flip_test(above, "two-sided", 999, 0) == pytest.approx(2 / 1000)


def test_no_difference_is_never_significant():
    for alternative in ALTERNATIVES:
        assert sign_flip_test(np.zeros((30, 2)), alternative, 99, 0) == pytest.approx(1)


def test_flips_do_not_depend_on_columns_batches_or_scale(monkeypatch):
    differences = values(9, images=40)
    first = sign_flip_test(differences, "two-sided", 300, 2)
    assert np.array_equal(first, [sign_flip_test(differences[:, [k]], "two-sided", 300, 2)[0] for k in range(3)])
    assert np.array_equal(first, sign_flip_test(differences * 1e-12, "two-sided", 300, 2))
    monkeypatch.setattr(statistics, "BATCH_VALUES", 100)
    assert np.array_equal(first, sign_flip_test(differences, "two-sided", 300, 2))


def test_a_true_null_gives_uniform_p_values():
    differences = np.random.default_rng(10).normal(size=(15, 400))
    p_values = sign_flip_test(differences, "greater", 299, 0)
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_corrections_by_hand():
    p_values = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    # Four tests, ascending: 0.005 x 4, 0.01 x 3, 0.03 x 2, then 0.04 x 1, which must not be below the one before.
    np.testing.assert_allclose(corrected(p_values, "holm"), [0.03, 0.06, np.nan, 0.06, 0.02], rtol=1e-12)
    # 0.005 x 4/1, 0.01 x 4/2, 0.03 x 4/3, 0.04 x 4/4.
    np.testing.assert_allclose(corrected(p_values, "fdr_bh"), [0.02, 0.04, np.nan, 0.04, 0.02], rtol=1e-12)


def test_corrections_keep_shape_and_bounds():
    p_values = np.array([[0.9, 0.8], [np.nan, 0.6]])
    for method in ("holm", "fdr_bh"):
        found = corrected(p_values, method)
        assert found.shape == (2, 2)
        assert np.isnan(found[1, 0])
        assert (found[np.isfinite(found)] <= 1).all()
        assert (found[np.isfinite(found)] >= p_values[np.isfinite(p_values)]).all()


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 2)])
def test_without_a_test_nothing_is_corrected(shape):
    found = corrected(np.full(shape, np.nan), "holm")
    assert found.shape == shape
    assert np.isnan(found).all()


def test_an_unknown_correction_is_refused():
    with pytest.raises(ValueError, match="method"):
        corrected(np.array([0.1]), "no_such_method")
