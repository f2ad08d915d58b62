"""Images in groups: accuracy of each, of the worst one, and how much of a quantity goes with an attribute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from classlens.arrays import Array
from classlens.statistics.resampling import BATCH_VALUES, Resampling

FEWEST = 10
"""Images that a group has at least, to count as the worst."""


@dataclass(frozen=True)
class Groups:
    """Images in groups: each is a class with a value of an attribute.

    Attributes:
        of: (N), the group of each image, 0..G-1, none empty; groups come class by class.
        classes: (G), the class of each group, 0..C-1, none empty.
    """

    of: Array
    classes: Array

    @property
    def sizes(self) -> Array:
        """Images of each group (G)."""
        return np.bincount(self.of, minlength=len(self.classes))

    @property
    def large(self) -> Array:
        """bool (G), which groups may be the worst."""
        return self.sizes >= FEWEST

    def among(self, chosen: Array) -> Groups:
        """Return the groups of some of the images, bool (N)."""
        found, of = np.unique(self.of[chosen], return_inverse=True)
        return Groups(of, np.unique(self.classes[found], return_inverse=True)[1])


def groups_of(classes: Array, values: Array) -> tuple[Groups, list[tuple[int, str]]]:
    """Return images' groups, and class and value of each group.

    Args:
        classes: (N), class of each image, any numbers.
        values: (N), text, what each has of an attribute.
    """
    pairs = list(zip(classes.tolist(), values.tolist(), strict=True))
    names = sorted(set(pairs))
    number = {name: place for place, name in enumerate(names)}
    of_class = np.unique([class_index for class_index, _ in names], return_inverse=True)[1]
    return Groups(np.array([number[pair] for pair in pairs]), of_class), names


def group_means(values: Array, groups: Groups) -> Array:
    """Return the mean (G, K) of values (N, K) over each group's images."""
    ordered = values[np.argsort(groups.of, kind="stable")].astype(np.float64)
    sums: Array = np.add.reduceat(ordered, _starts(groups.sizes), axis=0)
    return sums / groups.sizes[:, None]


def worst(means: Array, groups: Groups) -> Array:
    """Return the smallest of groups' means (..., G, K) over large groups, (..., K); NaN where none is large."""
    if not groups.large.any():
        return np.full_like(means[..., 0, :], np.nan)
    smallest: Array = means[..., groups.large, :].min(-2)
    return smallest


def drawn_means(values: Array, groups: Groups, resampling: Resampling) -> Iterator[Array]:
    """Yield groups' means (r, G, K) of values (N, K) over images drawn with replacement within each group.

    All K quantities are of the same draws. Groups keep their sizes. The r add up to all resamples.
    """
    generator = np.random.default_rng(resampling.seed)
    exact = [values[groups.of == group].astype(np.float64) for group in range(len(groups.sizes))]
    step = max(1, BATCH_VALUES // max(len(values), len(exact) * values.shape[1]))
    for start in range(0, resampling.resamples, step):
        found = np.empty((min(step, resampling.resamples - start), len(exact), values.shape[1]))
        for group, own in enumerate(exact):
            times = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=len(found))
            found[:, group] = times @ own / len(own)
        yield found


def resampled_means(values: Array, groups: Groups, resampling: Resampling) -> Array:
    """Return what `drawn_means` yields, (R, G, K)."""
    return np.concatenate(list(drawn_means(values, groups, resampling)))


def interval(drawn: Array, resampling: Resampling) -> tuple[Array, Array]:
    """Return the percentile interval (low, high), (...) each, of resampled values (R, ...)."""
    tail = (1 - resampling.confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return low, high


class Change(NamedTuple):
    """Of the worst group's accuracy, from one set of answers to another one on the same images.

    Attributes:
        change: after minus before; NaN where no group has `FEWEST` images.
        error: its standard error, over resamples of images within groups.
        low, high: its percentile interval.
    """

    change: float
    error: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether it is larger than its standard error."""
        return self.change > self.error


def changes_of_worst(before: Array, after: Array, groups: Groups, resampling: Resampling) -> list[Change]:
    """Measure changes of the worst group's accuracy; in each resample the worst group is found anew, for all answers.

    Args:
        before: bool (N), whether a model is right.
        after: bool (N, K), whether K others are.
        groups: of the images.
        resampling: how often images are drawn within groups, the same for all.
    """
    every = np.concatenate([before[:, None], after], 1)
    own = worst(group_means(every, groups), groups)
    drawn = np.concatenate([worst(means, groups) for means in drawn_means(every, groups, resampling)])
    changes, spread = own[1:] - own[0], drawn[:, 1:] - drawn[:, :1]
    columns = changes, spread.std(0, ddof=1), *interval(spread, resampling)
    return [Change(*map(float, row)) for row in zip(*columns, strict=True)]


def change_of_worst(before: Array, after: Array, groups: Groups, resampling: Resampling) -> Change:
    """Measure the change from `before` to `after`, bool (N) each, see `changes_of_worst`."""
    [change] = changes_of_worst(before, after[:, None], groups, resampling)
    return change


@dataclass(frozen=True)
class Association:
    """How much of a quantity's variance within classes goes with an attribute, for K quantities.

    Attributes:
        share: (K), eta squared within classes: variance of group means around their class's, as a share of that of
            images around their class's; 0 where nothing varies.
        low, high: (K), percentile interval, images drawn with replacement within each group.
        p_value: (K), of permutations of images among the groups of their class: (k + 1) / (resamples + 1), k being the
            number of those with at least as large a share.
    """

    share: Array
    low: Array
    high: Array
    p_value: Array


def associate(values: Array, groups: Groups, resampling: Resampling) -> Association:
    """Measure and test how values (N, K) go with groups within classes."""
    order, generator = np.argsort(groups.of, kind="stable"), np.random.default_rng(resampling.seed)
    ordered, sizes = values[order].astype(np.float64), groups.sizes
    of_classes = np.bincount(groups.classes, sizes).astype(int)
    ends = np.cumsum(of_classes)

    def shares(rows: Array) -> Array:
        """Return eta squared (K) of rows (N, K) that come group by group."""
        means = np.add.reduceat(rows, _starts(of_classes), axis=0) / of_classes[:, None]
        within = rows - np.repeat(means, of_classes, axis=0)
        explained = (np.add.reduceat(within, _starts(sizes), axis=0) ** 2 / sizes[:, None]).sum(0)
        total = (within**2).sum(0)
        # Sums in another order differ in the last digits; a tie has to stay a tie.
        found: Array = np.round(np.divide(explained, total, out=np.zeros_like(total), where=total > 0), 12)
        return found

    own, as_large = shares(ordered), np.zeros(values.shape[1])
    drawn = np.empty((resampling.resamples, values.shape[1]))
    for resample in range(resampling.resamples):
        exchanged = [generator.permutation(size) + end - size for size, end in zip(of_classes, ends, strict=True)]
        as_large += shares(ordered[np.concatenate(exchanged)]) >= own
        picked = [
            generator.integers(start, start + size, size) for start, size in zip(_starts(sizes), sizes, strict=True)
        ]
        drawn[resample] = shares(ordered[np.concatenate(picked)])
    return Association(own, *interval(drawn, resampling), (as_large + 1) / (resampling.resamples + 1))


def _starts(sizes: Array) -> Array:
    """Return where consecutive pieces of such sizes start."""
    ends: Array = np.cumsum(sizes)
    return ends - sizes
