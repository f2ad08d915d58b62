"""The handwritten digits that scikit-learn brings: 1,797 images of 8 x 8 pixels with ink from 0 to 16.

A file name is `digits.csv.gz#ROW`. Of each class every fifth image, in the order of the file, is held out for
evaluation.
"""

from __future__ import annotations

import csv
import gzip
import site
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from classlens.data.mask import CLASS, CONTEXT, Mask
from classlens.data.source import Source
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

FILE = "sklearn/datasets/data/digits.csv.gz"
SIDE = 8
FULL = 16
"""Value of a pixel full of ink."""
HELD_OUT_EVERY = 5
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Digits(Source):
    """scikit-learn's digits; ink is the mask."""

    needs_root = False
    has_masks = True

    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return all digits, class by class."""
        seen = [0] * len(NAMES)
        found = []
        for number, row in enumerate(_rows()):
            index = row[-1]
            split = "evaluation" if seen[index] % HELD_OUT_EVERY == 0 else "training"
            seen[index] += 1
            found.append(Stimulus(split, index, str(index), NAMES[index], f"{Path(FILE).name}#{number}"))
        return sorted(found, key=lambda item: item.class_index)

    def class_count(self) -> int:
        """Return the number of digits."""
        return len(NAMES)

    def image_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the one file that holds all digits."""
        return [str(_path())]

    mask_files = image_files

    def content(self, file: str) -> bytes:
        """Return a digit's pixels, row by row."""
        return bytes(_rows()[int(file.rpartition("#")[2])][:-1])

    def decode(self, content: bytes, file: str) -> Image.Image:
        """Return a digit, bright on black."""
        return Image.fromarray(np.round(_ink(content) * (255 / FULL)).astype(np.uint8)).convert("RGB")

    def mask_content(self, file: str, class_id: str) -> bytes:
        """Return the digit's pixels."""
        return self.content(file)

    def decode_mask(self, content: bytes, file: str) -> Mask:
        """Return where there is ink: pixels at least half full."""
        return np.where(_ink(content) >= FULL / 2, CLASS, CONTEXT).astype(np.uint8)


def _path() -> Path:
    """Return the file that scikit-learn installs, without importing scikit-learn, which takes long."""
    folders = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages())
    path = next((path for folder in folders if (path := Path(folder, FILE)).is_file()), None)
    if path is None:
        raise InputError("data sets of kind digits come with scikit-learn; install it (pip install scikit-learn)")
    return path


@cache
def _rows() -> tuple[tuple[int, ...], ...]:
    """Return every image as 64 pixels and its class."""
    with gzip.open(_path(), "rt", newline="") as file:
        return tuple(tuple(int(float(value)) for value in row) for row in csv.reader(file))


def _ink(content: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8).reshape(SIDE, SIDE)
