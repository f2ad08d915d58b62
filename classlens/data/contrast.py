"""Whether decoded images look as if their numbers were misread: nearly black, or nearly constant."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

HALF = 128
"""Of 255."""
CONSTANT = 16
"""Levels of 255 that an image of something spans at least, in one of its channels."""


class Contrast:
    """What is seen of a data set's images, one by one."""

    def __init__(self) -> None:
        self._spans: list[int] = []
        self._brightest = 0

    def add(self, extremes: list[tuple[int, int]]) -> None:
        """Take an image's smallest and largest value of each channel, see `extremes`."""
        self._brightest = max(self._brightest, *(most for _, most in extremes))
        self._spans.append(max(most - least for least, most in extremes))

    def doubts(self, dataset: str) -> list[str]:
        """Return what is doubtful, in a line each with the way out."""
        if not self._spans:
            return []
        count, way = len(self._spans), "look at them, and give the key value_range: [low, high] where values span less"
        if self._brightest < HALF:
            return [
                f"datasets.{dataset}: no value of {count} images is above {self._brightest} of 255, less than half; "
                f"{way} than their type ([0, 4095] for 12 bits in 16)"
            ]
        if (span := median(self._spans)) < CONSTANT:
            return [
                f"datasets.{dataset}: half of {count} images are nearly constant, and span at most {span:g} of 255 "
                f"levels; {way} than their type"
            ]
        return []


def extremes(image: Image.Image) -> list[tuple[int, int]]:
    """Return smallest and largest value of each channel of an RGB image."""
    return [(int(least), int(most)) for least, most in image.getextrema()]  # type: ignore[misc]
