"""The range of class indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classlens.arrays import Array
from classlens.errors import InputError


def output_indices(classes: Array | Sequence[int], num_classes: int) -> Array:
    """Return which output of a model is about each image's class: of a score, which knows no classes, its only one.

    Args:
        classes: integers.
        num_classes: C, 1 of a score.

    Raises:
        InputError: as `check_classes`.
    """
    return np.zeros_like(classes) if num_classes == 1 else check_classes(classes, num_classes)


def check_classes(classes: Array | Sequence[int], num_classes: int) -> Array:
    """Return the classes as they came.

    Args:
        classes: integers.
        num_classes: C.

    Raises:
        InputError: one of them is none of the model's.
    """
    given = np.asarray(classes)
    outside = given[(given < 0) | (given >= num_classes)]
    if outside.size:
        raise InputError(
            f"class {outside[0]} is none of the model's classes 0..{num_classes - 1}; give one of these, set "
            f"options.num_classes, or take weights or a head that know all classes"
        )
    return given
