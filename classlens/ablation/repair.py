"""Replace heads by constants that fold into the weights, and choose those whose replacement helps the worst group.

A head's constant is its mean over images and tokens, so that what it adds to every token is W_O times it: the columns
that read the head go to 0, and the bias takes what they gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.statistics.groups import Groups, changes_of_worst, group_means, worst
from classlens.statistics.resampling import Resampling

Head = tuple[int, int]
"""Block and head, from 0."""
AT_ONCE = 16
"""Heads whose standard errors are found by the same draws."""


def fold(model: Any, means: torch.Tensor, heads: Sequence[Head]) -> None:
    """Replace heads by constants, in the weights of a supported timm model.

    Args:
        means: (B, H, d), the constants, of what enters each block's projection.
        heads: which; one that was replaced before stays as it is.
    """
    width = means.shape[-1]
    with torch.no_grad():
        for block, head in heads:
            projection, columns = model.blocks[block].attn.proj, slice(head * width, (head + 1) * width)
            given = projection.weight[:, columns].double() @ means[block, head].to(projection.weight).double()
            projection.bias += given.to(projection.bias)
            projection.weight[:, columns] = 0


@contextmanager
def folded(model: Any, means: torch.Tensor, heads: Sequence[Head]) -> Iterator[None]:
    """Replace heads, see `fold`, within the context."""
    projections = {block: model.blocks[block].attn.proj for block, _ in heads}
    before = [(one.weight.detach().clone(), one.bias.detach().clone()) for one in projections.values()]
    try:
        fold(model, means, heads)
        yield
    finally:
        with torch.no_grad():
            for projection, (weight, bias) in zip(projections.values(), before, strict=True):
                projection.weight.copy_(weight)
                projection.bias.copy_(bias)


def halve(groups: Groups, seed: int) -> Array:
    """Return bool (N), which images heads are chosen by: half of each group, of an odd number the smaller half."""
    generator, choosing = np.random.default_rng(seed), np.zeros(len(groups.of), bool)
    for group, size in enumerate(groups.sizes):
        choosing[generator.permutation(np.flatnonzero(groups.of == group))[: size // 2]] = True
    return choosing


def choose(
    answers: Callable[[list[Head]], tuple[Array, Array]], groups: Groups, most: int, resampling: Resampling
) -> list[Head]:
    """Choose heads one after the other: each time the one whose replacement raises the worst group's accuracy most.

    It ends with `most` heads, or where none raises it by more than the change's standard error, see `changes_of_worst`.
    Of equal ones it takes the first.

    Args:
        answers: called with the heads that are replaced, returns whether the model is right without these, bool (n),
            and without each further head, bool (n, B, H).
        groups: of the n images.
        resampling: for the standard error.
    """
    chosen: list[Head] = []
    while groups.large.any() and len(chosen) < most:
        now, without = answers(chosen)
        every = without.reshape(len(now), -1)
        gains = worst(group_means(every, groups), groups) - worst(group_means(now[:, None], groups), groups)
        places = [place for place in np.argsort(-gains, kind="stable") if gains[place] > 0]
        some = (places[start : start + AT_ONCE] for start in range(0, len(places), AT_ONCE))
        changes = ((few, changes_of_worst(now, every[:, few], groups, resampling)) for few in some)
        enough = (place for few, found in changes for place, one in zip(few, found, strict=True) if one.is_clear)
        if (best := next(enough, None)) is None:
            break
        block, head = np.unravel_index(best, without.shape[1:])
        chosen.append((int(block), int(head)))
    return chosen
