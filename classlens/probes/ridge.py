"""Ridge classifiers of many tokens at once, from sums over images.

One-vs-rest targets are +1 for the correct class and -1 for the others, so a ridge with intercept follows from the Gram
matrix of the features, the sum of the features of each class, and the number of its images:

    (G - n m m') w_c = 2 (s_c - n_c m),    b_c = 2 n_c / n - 1 - w_c . m

with the penalty added to the diagonal of the left side, and m the mean feature (Hastie, Tibshirani, Friedman, "The
Elements of Statistical Learning", section 3.4.1). A class without images has w = 0 and b = -1 whatever the others are,
so it needs no place in the sums. Everything is float64: with single precision the error of a Gram matrix of some
thousand images can exceed the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from classlens.batching import batches

TOKENS_AT_A_TIME = 8
"""Tokens that are solved or scored together: enough to be fast, and what is needed beside the sums stays small."""
UNSEEN_SCORE = -1.0
"""Score of a class without training images."""


class RidgeSums:
    """Sums over images from which the ridges of T tokens with D features and K classes with training images follow.

    They lie on a device that has to know float64.
    """

    def __init__(self, tokens: int, width: int, num_classes: int, device: torch.device) -> None:
        self.gram = torch.zeros(tokens, width, width, dtype=torch.float64, device=device)
        self.sums = torch.zeros(tokens, num_classes, width, dtype=torch.float64, device=device)
        self.counts = torch.zeros(num_classes, dtype=torch.float64, device=device)

    def add(self, features: torch.Tensor, classes: torch.Tensor) -> None:
        """Add images' features (T, n, D) float64 and classes (n) int64, below K; needs no memory of its own."""
        self.gram.baddbmm_(features.mT, features)
        self.sums.index_add_(1, classes, features)
        self.counts += torch.bincount(classes, minlength=len(self.counts))

    def solve(self, penalty: float) -> Ridge:
        """Solve all ridges with a penalty on w's squared length. The sums are used up: solutions take their memory.

        Raises:
            FloatingPointError: features are so large that their rounding exceeds the penalty.
        """
        count = self.counts.sum()
        mean = self.sums.sum(1, keepdim=True) / count
        self.gram.baddbmm_(mean.mT, mean, alpha=-float(count))
        self.gram.diagonal(dim1=1, dim2=2).add_(penalty)
        of_class = self.counts[None, :, None].expand(len(mean), -1, -1)
        self.sums.baddbmm_(of_class, mean, beta=2, alpha=-2)
        for part in batches(len(mean), TOKENS_AT_A_TIME):
            factor, failed = torch.linalg.cholesky_ex(self.gram[part])
            if failed.any():
                raise FloatingPointError("features are too large for the penalty")
            self.sums[part] = torch.cholesky_solve(self.sums[part].mT, factor).mT
        intercept = 2 * self.counts / count - 1 - (self.sums @ mean.mT)[..., 0]
        return Ridge(self.sums, intercept)


@dataclass(frozen=True)
class Ridge:
    """Ridge classifiers of T tokens with K classes and D features."""

    coefficients: torch.Tensor
    """(T, K, D)"""
    intercept: torch.Tensor
    """(T, K)"""

    def judge(
        self, features: torch.Tensor, classes: torch.Tensor, seen: torch.Tensor, num_classes: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Judge a batch of images.

        Args:
            features: (T, n, D) float64.
            classes: (n) int64, the correct class of each image, below `num_classes`.
            seen: (K) int64, the classes of the coefficients, ascending.
            num_classes: C, those without training images among them.

        Returns:
            rank (T, n) int32, classes with a strictly larger score than the correct one; and correct (T, n) bool, the
            largest score is the correct class's.
        """
        rank = torch.empty(features.shape[:2], dtype=torch.int32, device=features.device)
        correct = torch.empty_like(rank, dtype=torch.bool)
        for part in batches(len(features), TOKENS_AT_A_TIME):
            scores = torch.baddbmm(self.intercept[part, None], features[part], self.coefficients[part].mT)
            rank[part], correct[part] = judge_scores(scores, classes, seen, num_classes)
        return rank, correct


def judge_scores(
    scores: torch.Tensor, classes: torch.Tensor, seen: torch.Tensor, num_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Judge scores (T, n, K) of the seen classes, the others having `UNSEEN_SCORE`; see `Ridge.judge`."""
    place = torch.searchsorted(seen, classes).clamp(max=len(seen) - 1)
    known = seen[place] == classes
    own = scores.gather(-1, place.expand(len(scores), -1)[..., None])[..., 0]
    target = torch.where(known, own, UNSEEN_SCORE)
    unseen = num_classes - len(seen)
    rank = (scores > target[..., None]).sum(-1, dtype=torch.int32) + unseen * (target < UNSEEN_SCORE).int()
    best, index = scores.max(-1)
    top = seen[index]
    if unseen:
        # Among equal classes the first one wins, as in an argmax over all of them.
        is_seen = torch.zeros(num_classes, dtype=torch.int8, device=seen.device).index_fill_(0, seen, 1)
        top = torch.where(best < UNSEEN_SCORE, is_seen.argmin(), top)
    return rank, top == classes
