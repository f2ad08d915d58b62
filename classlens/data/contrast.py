"""Whether decoded images and masks look as if their numbers were misread: nearly black or constant, full or empty."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from classlens.data.mask import CLASS, Mask

if TYPE_CHECKING:
    from PIL import Image

HALF = 128
"""Of 255."""
CONSTANT = 16
"""Levels of 255 that an image of something spans at least, in one of its channels."""

STORED = "classlens: stored values"
"""Key of a decoded image's `info`: of which type the values in its file are."""


class Seen(NamedTuple):
    """Of an image: the type of its file's values ("" if all of a data set are alike), the widest span, the maximum."""

    stored: str
    span: int
    brightest: int


def seen(image: Image.Image) -> Seen:
    """Look at a decoded RGB image."""
    channels = [(int(least), int(most)) for least, most in image.getextrema()]  # type: ignore[misc]
    span = max(most - least for least, most in channels)
    return Seen(image.info.get(STORED, ""), span, max(most for _, most in channels))


class Contrast:
    """What is seen of a data set's images, one by one."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, list[Seen]] = defaultdict(list)

    def add(self, image: Seen) -> None:
        """Take what was seen of an image."""
        self._seen[image.stored].append(image)

    def doubts(self, dataset: str) -> list[str]:
        """Return what is doubtful, in a line each with the way out: of each type of values, which share no scale."""
        found = []
        way = "look at them, and give the key value_range: [low, high] where values span less than their type"
        if len(self._seen) > 1:
            way = "look at them, and convert all images to one type, since a value_range is for all of them"
        for stored, images in sorted(self._seen.items()):
            which = f"{len(images)} images" + (f" of {stored}" if len(self._seen) > 1 else "")
            if (brightest := max(image.brightest for image in images)) < HALF:
                found.append(
                    f"datasets.{dataset}: no value of {which} is above {brightest} of 255, less than half; {way}"
                    f"{'' if len(self._seen) > 1 else ' ([0, 4095] for 12 bits in 16)'}"
                )
            elif (span := median(image.span for image in images)) < CONSTANT:
                found.append(
                    f"datasets.{dataset}: half of {which} are nearly constant, and span at most {span:g} of 255 "
                    f"levels; {way}"
                )
        return found


class Coverage:
    """What is seen of a data set's masks, one by one."""

    def __init__(self) -> None:
        self._masks, self._counts = 0, Counter[bool]()

    def add(self, mask: Mask) -> None:
        """Take a mask."""
        is_class, self._masks = mask == CLASS, self._masks + 1
        if (every := bool(is_class.all())) or not is_class.any():
            self._counts[every] += 1

    def doubts(self, dataset: str) -> list[str]:
        """Return a doubt where at least half of the masks tell nothing apart."""
        return [
            f"datasets.{dataset}: {'every' if every else 'no'} pixel is class in {count} of {self._masks} masks; look "
            f"at them: zero is context, and every other value is class, also of borders and backgrounds"
            for every, count in self._counts.items()
            if 2 * count >= self._masks
        ]
