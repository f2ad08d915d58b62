"""The handwritten digits that scikit-learn brings: 1,797 images of 8 x 8 pixels with ink from 0 to 16.

A file name is `digits.csv.gz#ROW`. Of each class every fifth image, in the order of the file, is held out for
evaluation.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from classlens.data.mask import CLASS, CONTEXT, Mask
from classlens.data.source import Source
from classlens.data.stimulus import Stimulus
from classlens.shipped import DIGITS

if TYPE_CHECKING:  # numpy and Pillow are for decoding alone: a workflow is planned without them
    import numpy.typing as npt
    from PIL import Image

SIDE = 8
FULL = 16
"""Value of a pixel full of ink."""
HELD_OUT_EVERY = 5
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Digits(Source):
    """scikit-learn's digits; ink is the mask."""

    needs_root = False
    decodes = False
    has_masks = True

    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return all digits, class by class."""
        seen = [0] * len(NAMES)
        found = []
        for number, row in enumerate(_rows()):
            index = row[-1]
            split = "evaluation" if seen[index] % HELD_OUT_EVERY == 0 else "training"
            seen[index] += 1
            found.append(Stimulus(split, index, str(index), NAMES[index], f"{DIGITS.name}#{number}"))
        return sorted(found, key=lambda item: item.class_index)

    def class_ids(self) -> list[str]:
        """Return the digits."""
        return [str(digit) for digit in range(len(NAMES))]

    def image_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the one file that holds all digits."""
        return [str(DIGITS)]

    mask_files = image_files

    def content(self, file: str) -> bytes:
        """Return a digit's pixels, row by row."""
        return bytes(_rows()[int(file.rpartition("#")[2])][:-1])

    def decode(self, content: bytes, file: str) -> Image.Image:
        """Return a digit, bright on black."""
        import numpy as np
        from PIL import Image

        return Image.fromarray(np.round(_ink(content) * (255 / FULL)).astype(np.uint8)).convert("RGB")

    def mask_content(self, file: str, class_id: str) -> bytes:
        """Return the digit's pixels."""
        return self.content(file)

    def decode_mask(self, content: bytes, file: str) -> Mask:
        """Return where there is ink: pixels at least half full."""
        import numpy as np

        return np.where(_ink(content) >= FULL / 2, CLASS, CONTEXT).astype(np.uint8)


@cache
def _rows() -> tuple[tuple[int, ...], ...]:
    """Return every image as 64 pixels and its class."""
    with gzip.open(DIGITS, "rt", newline="") as file:
        return tuple(tuple(int(float(value)) for value in row) for row in csv.reader(file))


def _ink(content: bytes) -> npt.NDArray[Any]:
    import numpy as np

    return np.frombuffer(content, np.uint8).reshape(SIDE, SIDE)
