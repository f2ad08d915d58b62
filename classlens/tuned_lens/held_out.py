"""Which training images a tuned lens is fitted to, and which of them decide between its maps."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array

HELD_OUT = 10
"""One in so many training images is held out."""


def held_out_images(images: int, seed: int) -> Array:
    """Return which of the training images are held out, ascending: a tenth, at least one, none of a single one."""
    count = 0 if images < 2 else max(1, round(images / HELD_OUT))
    return np.sort(np.random.default_rng(seed).permutation(images)[:count])


def fitted_images(images: int, seed: int) -> Array:
    """Return which of the training images maps are fitted to, ascending: all others."""
    return np.setdiff1d(np.arange(images), held_out_images(images, seed))


def inside(chosen: Array, part: slice) -> Array:
    """Return the places within a part of the images of those that are chosen."""
    places: Array = chosen[(chosen >= part.start) & (chosen < part.stop)] - part.start
    return places
