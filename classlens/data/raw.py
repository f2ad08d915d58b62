"""Raw images and masks of a data set, one at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from classlens.data import digits, imagenet_s
from classlens.data.images import open_image, open_mask
from classlens.errors import InputError

CONTEXT, CLASS, IGNORE = 0, 1, 2
"""What a mask says of a pixel."""

Mask = npt.NDArray[np.uint8]


class Raw(Protocol):
    """Access to a data set's raw content by the file names of stimuli.csv. Safe to use from many threads."""

    def digest(self, file: str) -> str:
        """Return the SHA-256 of an image's raw content."""
        ...

    def image(self, file: str, digest: str) -> Image.Image:
        """Return an image as RGB; `digest` is what its raw content must have."""
        ...

    def mask(self, file: str, class_id: str) -> Mask:
        """Return an image's mask (height, width) of CONTEXT, CLASS and IGNORE, in the image's own size."""
        ...


def open_raw(kind: str, root: str | None) -> Raw:
    """Return the access to a kind of data set."""
    return RawDigits() if kind == "digits" else RawImageNetS(root or "")


class RawDigits:
    """scikit-learn's digits; ink is the mask."""

    def digest(self, file: str) -> str:
        """Return the SHA-256 of a digit's pixels."""
        return hashlib.sha256(self._pixels(file).tobytes()).hexdigest()

    def image(self, file: str, digest: str) -> Image.Image:
        """Return a digit, bright on black."""
        _require(digest, self.digest(file), file)
        grey = np.round(self._pixels(file) * (255 / digits.FULL)).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")

    def mask(self, file: str, class_id: str) -> Mask:
        """Return where there is ink: pixels at least half full."""
        return np.where(self._pixels(file) >= digits.FULL / 2, CLASS, CONTEXT).astype(np.uint8)

    def _pixels(self, file: str) -> npt.NDArray[np.uint8]:
        row = digits.rows()[int(file.rpartition("#")[2])]
        return np.array(row[:-1], np.uint8).reshape(digits.SIDE, digits.SIDE)


class RawImageNetS:
    """Image files and category masks of ImageNet-S."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._number = {class_id: number for number, class_id in enumerate(imagenet_s.categories(root), start=1)}

    def digest(self, file: str) -> str:
        """Return the SHA-256 of the image file."""
        return hashlib.sha256(imagenet_s.image_path(self._root, file).read_bytes()).hexdigest()

    def image(self, file: str, digest: str) -> Image.Image:
        """Decode the image file."""
        path = imagenet_s.image_path(self._root, file)
        content = path.read_bytes()
        _require(digest, hashlib.sha256(content).hexdigest(), path)
        return open_image(content, path)

    def mask(self, file: str, class_id: str) -> Mask:
        """Decode the mask: a pixel's category is R + 256 G."""
        path = imagenet_s.mask_path(self._root, file)
        channels = open_mask(path).astype(np.uint16)
        category = channels[..., 0] + 256 * channels[..., 1]
        mask = np.where(category == self._number[class_id], CLASS, CONTEXT)
        return np.where(category == imagenet_s.IGNORE, IGNORE, mask).astype(np.uint8)


def _require(expected: str, found: str, file: Path | str) -> None:
    if expected != found:
        raise InputError(f"{file} changed after it was listed; run again")
