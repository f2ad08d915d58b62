"""In which order tokens are removed: by an explanation's importance, or at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.explanations.random import random_importance
from classlens.filters import h5py


def batch_importance(
    explanation: Sequence[str], seeds: Sequence[int], images: int, patches: int, numbers: range
) -> Callable[[slice], Array]:
    """Return what gives the importances (S, n, P) of images whose numbers a slice says.

    Args:
        explanation: one file with `importance` (N, P), so that S is 1; or none: random ones.
        seeds: S seeds of random importances; must be given when there is no explanation, and only then.
        images: N.
        patches: P.
        numbers: of the images that are asked for, one after the other.

    Raises:
        InputError: the explanation does not fit the images or holds NaN.
    """
    if bool(explanation) == bool(seeds):
        raise InputError("removal curves: give either an explanation or the seeds of random orders")
    if not explanation:
        return lambda part: np.stack([random_importance(seed, part.start, part.stop, patches) for seed in seeds])
    importance = _read(explanation[0], (images, patches), numbers)
    return lambda part: importance[None, part.start - numbers.start : part.stop - numbers.start]


def _read(explanation: str, shape: tuple[int, int], numbers: range) -> Array:
    with h5py.File(explanation) as file:
        found, importance = file["importance"].shape, np.asarray(file["importance"][numbers.start : numbers.stop])
    if found != shape:
        raise InputError(
            f"{explanation}: importance {found} does not fit {shape[0]} images of {shape[1]} tokens; "
            f"make it from the same images and model"
        )
    if not np.isfinite(importance).all():
        raise InputError(f"{explanation}: importance is not finite, so it orders no tokens; make it anew")
    return importance
