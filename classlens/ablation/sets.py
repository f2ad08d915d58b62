"""Which image tokens are replaced together: by identifiability, at random, by mask, by norm."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array
from classlens.columns import DRAWS, LABELS, TOKEN_SETS


def set_names(*, has_labels: bool) -> list[str]:
    """Return the names of the sets that `token_sets` picks, in order; random ones are numbered."""
    names = [name for name in TOKEN_SETS if has_labels or name not in LABELS]
    drawn = [f"random_{number + 1}" for number in range(DRAWS)]
    return [one for name in names for one in (drawn if name == "random" else [name])]


def tenth(patches: int) -> int:
    """Return how many of P image tokens a tenth is: the nearest number, at least one."""
    return max(1, round(patches / 10))


def token_sets(
    rank: Array, norm: Array, thresholds: Array, first: int, seed: int, labels: Array | None = None
) -> Array:
    """Pick the sets of image tokens of n images: bool (n, B, S, P), S as `set_names`; a set may be empty.

    `most_identifiable` and `least_identifiable`: the tenth with the lowest and the highest rank after the block, of
    equal ones the first. `random`: a tenth, the same after all blocks. `outliers`: norm above the block's threshold;
    `not_outliers`: as many others, at random. `class`, `context`: as masks label them.

    Args:
        rank: (n, B, P), of the correct class after each block.
        norm: (n, B, P), see `outliers`.
        thresholds: (B).
        first: number of the first image in the data set; with the seed it decides what is drawn.
        seed: of random draws.
        labels: (n, P), see `classlens.data.labels`.
    """
    images, _, patches = rank.shape
    few = tenth(patches)
    drawn = np.stack([_drawn(seed, first + image, patches) for image in range(images)])
    outlier = norm > thresholds[None, :, None]
    found = {
        "most_identifiable": _marked(rank.argsort(-1, kind="stable")[..., :few], patches),
        "least_identifiable": _marked((-rank.astype(np.int64)).argsort(-1, kind="stable")[..., :few], patches),
        **{
            f"random_{number + 1}": np.broadcast_to(_marked(drawn[:, None, number, :few], patches), rank.shape)
            for number in range(DRAWS)
        },
        "outliers": outlier,
        "not_outliers": _as_many_others(outlier, drawn[:, None, 0]),
    }
    if labels is not None:
        found |= {name: np.broadcast_to((labels == value)[:, None], rank.shape) for name, value in LABELS.items()}
    return np.stack([found[name] for name in set_names(has_labels=labels is not None)], axis=2)


def _drawn(seed: int, image: int, patches: int) -> Array:
    """Return random orders of an image's tokens (draws, P), whatever batch the image comes in."""
    generator = np.random.default_rng([seed, image])
    return np.stack([generator.permutation(patches) for _ in range(DRAWS)])


def _marked(places: Array, patches: int) -> Array:
    """Return bool (..., P), True at places (..., k)."""
    marked = np.zeros((*places.shape[:-1], patches), bool)
    np.put_along_axis(marked, places, True, axis=-1)
    return marked


def _as_many_others(outlier: Array, order: Array) -> Array:
    """Return as many tokens that are no outliers, the first in an order (n, 1, P); all where there are fewer."""
    order = np.broadcast_to(order, outlier.shape)
    other = ~np.take_along_axis(outlier, order, axis=-1)
    chosen = other & (other.cumsum(-1) <= outlier.sum(-1, keepdims=True))
    marked = np.zeros_like(outlier)
    np.put_along_axis(marked, order, chosen, axis=-1)
    return marked
