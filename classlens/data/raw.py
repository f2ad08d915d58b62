"""Raw images and masks of a data set, one at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from classlens.data import cifar100, digits, image_folder, imagenet_s
from classlens.data.images import open_image, open_mask, open_nonzero
from classlens.data.stimulus import Listed
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

    def mask_digest(self, file: str, class_id: str) -> str:
        """Return the SHA-256 of all that an image's mask follows from."""
        ...

    def mask(self, file: str, class_id: str) -> Mask:
        """Return an image's mask (height, width) of CONTEXT, CLASS and IGNORE, in the image's own size."""
        ...


def open_raw(kind: str, root: str | None, masks: str | None = None) -> Raw:
    """Return the access to a data set.

    Args:
        kind: of data set.
        root: its folder.
        masks: the folder of its masks, for kind image_folder.
    """
    if kind == "digits":
        return RawDigits()
    if kind == "cifar100":
        return RawCifar100(root or "")
    return RawImageNetS(root or "") if kind == "imagenet_s" else RawFolder(root or "", masks)


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

    def mask_digest(self, file: str, class_id: str) -> str:
        """Return the SHA-256 of the digit's pixels."""
        return self.digest(file)

    def mask(self, file: str, class_id: str) -> Mask:
        """Return where there is ink: pixels at least half full."""
        return np.where(self._pixels(file) >= digits.FULL / 2, CLASS, CONTEXT).astype(np.uint8)

    def _pixels(self, file: str) -> npt.NDArray[np.uint8]:
        row = digits.rows()[int(file.rpartition("#")[2])]
        return np.array(row[:-1], np.uint8).reshape(digits.SIDE, digits.SIDE)


class RawCifar100:
    """The rows of CIFAR-100's files."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._rows: dict[str, Mask] = {}
        self._lock = Lock()

    def digest(self, file: str) -> str:
        """Return the SHA-256 of an image's bytes."""
        return hashlib.sha256(self._bytes(file).tobytes()).hexdigest()

    def image(self, file: str, digest: str) -> Image.Image:
        """Return an image."""
        _require(digest, self.digest(file), file)
        planes = self._bytes(file).reshape(3, cifar100.SIDE, cifar100.SIDE)
        return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))

    def mask_digest(self, file: str, class_id: str) -> str:
        """Refuse: there are no masks."""
        raise InputError(f"{file}: CIFAR-100 has no masks")

    def mask(self, file: str, class_id: str) -> Mask:
        """Refuse: there are no masks."""
        raise InputError(f"{file}: CIFAR-100 has no masks")

    def _bytes(self, file: str) -> Mask:
        partition, _, row = file.rpartition("#")
        with self._lock:
            if partition not in self._rows:
                self._rows[partition] = cifar100.rows(self._root, partition)
        result: Mask = self._rows[partition][int(row)]
        return result


class RawFiles:
    """Image files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def digest(self, file: str) -> str:
        """Return the SHA-256 of the image file."""
        return hashlib.sha256((self._folder / file).read_bytes()).hexdigest()

    def image(self, file: str, digest: str) -> Image.Image:
        """Decode the image file."""
        path = self._folder / file
        content = path.read_bytes()
        _require(digest, hashlib.sha256(content).hexdigest(), path)
        return open_image(content, path)


class RawFolder(RawFiles):
    """A folder of images; non-zero pixels of a mask are class."""

    def __init__(self, root: str, masks: str | None) -> None:
        super().__init__(Path(root))
        self._masks = masks

    def mask_digest(self, file: str, class_id: str) -> str:
        """Return the SHA-256 of the mask file."""
        return hashlib.sha256(self._mask_path(file).read_bytes()).hexdigest()

    def mask(self, file: str, class_id: str) -> Mask:
        """Decode the mask: a pixel that is not zero shows the class."""
        return np.where(open_nonzero(self._mask_path(file)), CLASS, CONTEXT).astype(np.uint8)

    def _mask_path(self, file: str) -> Path:
        if self._masks is None:
            raise InputError(f"{file}: the data set has no masks")
        return image_folder.mask_path(self._masks, file)


class RawImageNetS(RawFiles):
    """Image files and category masks of ImageNet-S."""

    def __init__(self, root: str) -> None:
        super().__init__(Path(root) / imagenet_s.FOLDER)
        self._root = root
        self._number = {class_id: number for number, class_id in enumerate(imagenet_s.categories(root), start=1)}

    def mask_digest(self, file: str, class_id: str) -> str:
        """Return the SHA-256 of the class's category and the mask file."""
        content = imagenet_s.mask_path(self._root, file).read_bytes()
        return hashlib.sha256(b"%d " % self._category(file, class_id) + content).hexdigest()

    def mask(self, file: str, class_id: str) -> Mask:
        """Decode the mask: a pixel's category is R + 256 G."""
        path = imagenet_s.mask_path(self._root, file)
        own = self._category(file, class_id)
        channels = open_mask(path).astype(np.uint16)
        category = channels[..., 0] + 256 * channels[..., 1]
        mask = np.where(category == own, CLASS, CONTEXT)
        return np.where(category == imagenet_s.IGNORE, IGNORE, mask).astype(np.uint8)

    def _category(self, file: str, class_id: str) -> int:
        if class_id not in self._number:
            raise InputError(
                f"{file}: masks have no number for {class_id}, because ImageNetS_categories_im919.txt lacks it; "
                f"leave it out by exclude_classes"
            )
        return self._number[class_id]


def listed_mask(raw: Raw, item: Listed, digest: str) -> Mask:
    """Return an image's mask.

    Args:
        raw: access to the data set.
        item: the image.
        digest: what the mask followed from when it was listed.

    Raises:
        InputError: it is another one now.
    """
    _require(digest, raw.mask_digest(item.file, item.class_id), f"the mask of {item.file}")
    return raw.mask(item.file, item.class_id)


def _require(expected: str, found: str, file: Path | str) -> None:
    if expected != found:
        raise InputError(f"{file} changed after it was listed; run again")
