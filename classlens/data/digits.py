"""The handwritten digits that scikit-learn brings: 1,797 images of 8 x 8 pixels with ink from 0 to 16.

A file name is `digits.csv.gz#ROW`. Of each class every fifth image, in the order of the file, is held out for
evaluation.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

CLASSES = 10
SIDE = 8
FULL = 16
"""Value of a pixel full of ink."""
HELD_OUT_EVERY = 5
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def source() -> Path:
    """Return the file that scikit-learn installs, without importing scikit-learn.

    Raises:
        InputError: scikit-learn is not installed.
    """
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("data sets of kind digits come with scikit-learn; install it (pip install scikit-learn)")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"


@cache
def rows() -> tuple[tuple[int, ...], ...]:
    """Return every image as 64 pixels and its class."""
    with gzip.open(source(), "rt", newline="") as file:
        return tuple(tuple(int(float(value)) for value in row) for row in csv.reader(file))


def class_count(_dataset: Mapping[str, Any], _name: str) -> int:
    """Return the number of digits."""
    return CLASSES


def has_masks(_dataset: Mapping[str, Any]) -> bool:
    """Ink is the mask."""
    return True


def raw_images(_dataset: Mapping[str, Any], _chosen: Sequence[Stimulus], _name: str) -> list[str]:
    """Return the one file that holds all digits."""
    return [str(source())]


raw_masks = raw_images


def stimuli(_dataset: Mapping[str, Any], _name: str) -> list[Stimulus]:
    """Return all digits, class by class."""
    seen = [0] * CLASSES
    found = []
    for number, row in enumerate(rows()):
        index = row[-1]
        split = "evaluation" if seen[index] % HELD_OUT_EVERY == 0 else "training"
        seen[index] += 1
        found.append(Stimulus(split, index, str(index), NAMES[index], f"{source().name}#{number}"))
    return sorted(found, key=lambda item: item.class_index)
