"""Ridges from sums against scikit-learn, which sees the features themselves."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from classlens.batching import batches
from classlens.probes.ridge import UNSEEN_SCORE, RidgeSums, judge_scores

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make(images, tokens, width, classes, seed=0):
    """Features (images, tokens, width) that tell something of the class, far from zero and of unequal scale."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, images - classes)])
    centres = random.standard_normal((classes, tokens, width))
    features = centres[labels] + random.standard_normal((images, tokens, width))
    return features * np.geomspace(0.01, 100, width) + 30, labels


def fitted(features, labels, classes, penalty=1.0, batch=7):
    sums = RidgeSums(features.shape[1], features.shape[2], classes, CPU)
    for part in batches(len(features), batch):
        sums.add(tokens_first(features[part]), torch.from_numpy(labels[part]))
    return sums.solve(penalty)


def tokens_first(features):
    return torch.from_numpy(features).transpose(0, 1).contiguous()


@pytest.mark.parametrize(
    ("images", "width"), [(200, 20), (15, 20)], ids=["more images than features", "fewer images than features"]
)
@pytest.mark.parametrize("penalty", [1.0, 100.0])
def test_ridges_are_those_of_scikit_learn(images, width, penalty):
    # More tokens than are solved together.
    features, labels = make(images, 11, width, 4)
    ridge = fitted(features, labels, 4, penalty)
    targets = np.where(labels[:, None] == np.arange(4), 1.0, -1.0)
    for token in range(11):
        expected = SklearnRidge(alpha=penalty).fit(features[:, token], targets)
        # Relative to the features' scale: coefficients of large features are small.
        scale = np.geomspace(0.01, 100, width)
        found = ridge.coefficients[token].numpy()
        assert np.abs((found - expected.coef_) * scale).max() < 1e-8 * np.abs(expected.coef_ * scale).max()
        assert np.abs(ridge.intercept[token].numpy() - expected.intercept_).max() < 1e-7


def test_classes_without_training_images_are_classes_too():
    """Fitted over all C classes: those never seen have the target -1 throughout."""
    features, labels = make(200, 2, 6, 3, seed=1)
    seen, num_classes = np.array([2, 5, 6]), 9
    classes = seen[labels]
    train, test = slice(0, 60), slice(60, 200)
    truth = classes.copy()
    truth[60:130] = 4  # correct classes that were never seen
    features[100:, :, :] = -30  # far away from the training images, where seen classes can fall below -1
    ridge = fitted(features[train], labels[train], 3)
    rank, correct = ridge.judge(
        tokens_first(features[test]), torch.from_numpy(truth[test]), torch.from_numpy(seen), num_classes
    )
    targets = np.where(classes[train, None] == np.arange(num_classes), 1.0, -1.0)
    for token in range(2):
        scores = SklearnRidge(alpha=1.0).fit(features[train, token], targets).predict(features[test, token])
        scores[:, [0, 1, 3, 4, 7, 8]] = UNSEEN_SCORE  # which they are up to rounding
        own = scores[np.arange(140), truth[test]]
        assert np.array_equal(rank[token].numpy(), (scores > own[:, None]).sum(1))
        assert np.array_equal(correct[token].numpy(), scores.argmax(1) == truth[test])
    assert (rank > 3).any()  # unseen classes above a seen one


def test_unseen_classes_win_only_from_below():
    seen, classes = torch.tensor([1, 2]), torch.tensor([1, 0, 2, 3])
    scores = torch.tensor([[[0.5, -2.0], [-1.5, -1.2], [-1.5, -1.2], [-3.0, -1.1]]], dtype=torch.float64)
    rank, correct = judge_scores(scores, classes, seen, num_classes=4)
    assert rank.tolist() == [[0, 0, 2, 0]]
    assert correct.tolist() == [[True, True, False, False]]  # of the unseen 0 and 3 the first wins


def test_large_offsets_do_not_drown_the_penalty():
    """Features of real networks have channels with means of some hundred; sums in single precision fail here."""
    features, labels = make(400, 1, 10, 3, seed=2)
    plain, shifted = fitted(features, labels, 3), fitted(features + 1000, labels, 3)
    torch.testing.assert_close(shifted.coefficients, plain.coefficients, rtol=1e-4, atol=1e-6)


def test_a_penalty_lost_in_rounding_is_an_error():
    features, labels = make(10, 2, 40, 2)
    with pytest.raises(FloatingPointError, match="too large for the penalty"):
        fitted(1e12 * features, labels, 2)
