"""Chance levels against simulations of what they describe."""

import numpy as np
import pytest

from classlens.measures.block_memories import random_classes, share_any
from classlens.measures.memory_chance import largest_cosine, shared_memory


@pytest.mark.parametrize(("width", "memories"), [(2, 3), (3, 1), (8, 40), (48, 192)])
def test_largest_cosine(width, memories):
    """A fixed direction against random ones: by symmetry the first axis will do."""
    random = np.random.default_rng(0)
    draws = 400_000 // (width * memories) + 200
    directions = random.standard_normal((draws, memories, width))
    largest = (directions[..., 0] / np.linalg.norm(directions, axis=-1)).max(1)
    error = largest.std() / np.sqrt(draws)
    assert largest_cosine(width, memories) == pytest.approx(largest.mean(), abs=4 * error)


def test_largest_cosine_where_it_is_known():
    """One random direction: the mean cosine is 0; of two in the plane: E max = 4 / pi^2; small in a base model."""
    assert largest_cosine(2, 1) == pytest.approx(0, abs=1e-8)
    assert largest_cosine(2, 2) == pytest.approx(4 / np.pi**2, abs=1e-7)
    assert 0.1 < largest_cosine(768, 768) < largest_cosine(768, 3072) < 0.15


def test_shared_memory():
    random = np.random.default_rng(0)
    for memories, keys, strongest in ((10, 5, 5), (48, 5, 5), (192, 5, 5), (6, 2, 3)):
        draws = 5_000
        orders = random.random((2, draws, memories)).argsort(-1)
        rate = share_any(orders[0][:, :keys], orders[1][:, :strongest]).mean()
        expected = shared_memory(memories, keys, strongest)
        assert rate == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / draws))
    assert shared_memory(5, 5, 5) == 1


def test_random_classes_cover_all_classes_evenly():
    counts = np.bincount(random_classes(50_000, 10, seed=3), minlength=10)
    assert counts.tolist() == pytest.approx([5_000] * 10, rel=0.06)
