"""Which tokens are replaced together: against sorted lists of Python, whatever the batch."""

import numpy as np
import pytest

from classlens.ablation.sets import set_names, tenth, token_sets
from classlens.columns import DRAWS, LABELS

N, B, P = 4, 3, 23
RNG = np.random.default_rng(0)
RANK = RNG.integers(0, 9, (N, B, P)).astype(np.uint16)
NORM = RNG.choice([1.0, 2.0, 9.0], (N, B, P), p=[0.5, 0.3, 0.2]).astype(np.float32)
NORM[0, 0] = 1
NORM[1, 1] = 9
NORM[1, 1, 4] = 1
THRESHOLDS = np.array([5.0, 5.0, 1.5])
LABEL = RNG.choice([-1, 0, 1], (N, P)).astype(np.int8)


def picked(labels=LABEL, seed=0, part=slice(0, N)):
    """By name: bool (n, B, P)."""
    sets = token_sets(RANK[part], NORM[part], THRESHOLDS, part.start, seed, None if labels is None else labels[part])
    names = set_names(has_labels=labels is not None)
    assert sets.shape == (len(RANK[part]), B, len(names), P)
    return {name: sets[:, :, place] for place, name in enumerate(names)}


def places(marked):
    return np.flatnonzero(marked).tolist()


@pytest.mark.parametrize(("patches", "few"), [(1, 1), (4, 1), (16, 2), (49, 5), (64, 6), (196, 20)])
def test_a_tenth_is_the_nearest_number_but_one_at_least(patches, few):
    assert tenth(patches) == few


def test_the_most_and_the_least_identifiable_are_the_ends_of_a_sorted_list():
    found = picked()
    for image in range(N):
        for block in range(B):
            order = sorted(range(P), key=lambda token: RANK[image, block, token])
            assert places(found["most_identifiable"][image, block]) == sorted(order[:2])
            order = sorted(range(P), key=lambda token: -int(RANK[image, block, token]))
            assert places(found["least_identifiable"][image, block]) == sorted(order[:2])


def test_random_sets_are_a_tenth_the_same_after_all_blocks_and_differ():
    found = picked()
    drawn = np.stack([found[f"random_{number + 1}"] for number in range(DRAWS)])
    assert (drawn.sum(-1) == tenth(P)).all()
    assert (drawn == drawn[:, :, :1]).all()
    assert len({tuple(places(one)) for of_draw in drawn for one in of_draw[:, 0]}) > N * DRAWS / 2
    assert any((picked(seed=1)[f"random_{number + 1}"] != drawn[number]).any() for number in range(DRAWS))


def test_what_is_drawn_does_not_depend_on_the_batch():
    whole = picked()
    for first in range(N):
        for name, marked in picked(part=slice(first, first + 1)).items():
            assert np.array_equal(marked, whole[name][first : first + 1]), name


def test_outliers_are_above_the_threshold_of_their_block_and_as_many_others_are_not():
    found = picked()
    outliers, others = found["outliers"], found["not_outliers"]
    for block in range(B):
        assert np.array_equal(outliers[:, block], NORM[:, block] > THRESHOLDS[block])
    assert not (outliers & others).any()
    count = outliers.sum(-1)
    assert np.array_equal(others.sum(-1), np.minimum(count, P - count))
    # None, and all but one.
    assert count[0, 0] == others[0, 0].sum() == 0
    assert (count[1, 1], places(others[1, 1])) == (P - 1, [4])


def test_masks_give_their_tokens_after_every_block():
    found = picked()
    for name, value in LABELS.items():
        assert np.array_equal(found[name], np.broadcast_to((value == LABEL)[:, None], (N, B, P)))
    without = picked(labels=None)
    assert list(without) == [name for name in found if name not in LABELS]
    assert all(np.array_equal(without[name], found[name]) for name in without)
