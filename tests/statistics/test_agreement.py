"""Rank correlation of means against scipy's, and its interval against a plain loop."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from classlens.statistics.agreement import spearman_of_means
from classlens.statistics.resampling import Resampling


def test_it_is_scipys_of_the_means_and_the_interval_a_plain_loop():
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


def test_what_cannot_be_said_is_nan():
    generator, draws = np.random.default_rng(0), Resampling(50, 0.95, 0)
    table = generator.normal(size=(5, 4))
    assert np.isnan(spearman_of_means(table, np.ones((5, 4)), draws)).all()
    rho, *ends = spearman_of_means(table[:1], table[:1], draws)
    assert rho == pytest.approx(1)
    assert np.isnan(ends).all()
