"""Decode and transform a data set's images and masks once, for all models that take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from classlens.data.geometry import Geometry
from classlens.data.raw import Raw, listed_mask
from classlens.data.stimulus import Listed
from classlens.data.threads import in_order
from classlens.errors import InputError
from classlens.hdf5 import CHUNK_ROWS, Column, RowWriter, index_dtype

CHUNK_BYTES = 2**21


def write_pixels(stimuli: Sequence[Listed], raw: Raw, geometry: Geometry, path: Path | str, threads: int = 1) -> None:
    """Write `pixels` (N, size, size, 3) uint8 and `class_index` (N), in the order of the stimuli.

    Memory holds a few chunks, whatever N is.

    Raises:
        InputError: there is no image, or one cannot be read, or changed since it was listed.
    """
    if not stimuli:  # the evaluation split always has some
        raise InputError("there are no training images; raise the data set's key `train_per_class`")
    size = geometry.size
    highest = max((item.class_index for item in stimuli), default=0)
    columns = {
        "pixels": Column((size, size, 3), np.uint8, "red, green and blue", "1/255", compress=False),
        "class_index": Column((), index_dtype(highest + 1), "class of each image", "class index"),
    }

    def decode(item: Listed) -> npt.NDArray[np.uint8]:
        return np.asarray(geometry.image(raw.image(item.file, item.sha256)))

    rows = max(1, min(CHUNK_ROWS, CHUNK_BYTES // (3 * size * size)))
    with RowWriter(path, len(stimuli), columns, chunk_rows=rows) as writer:
        for item, pixels in in_order(decode, stimuli, threads, "decoding images"):
            writer.append({"pixels": pixels[None], "class_index": np.array([item.class_index])})


def write_masks(
    stimuli: Sequence[Listed],
    digests: Sequence[str],
    raw: Raw,
    geometry: Geometry,
    path: Path | str,
    threads: int = 1,
) -> None:
    """Write `mask` (N, size, size) uint8: 0 context, 1 class, 2 ignore.

    Args:
        stimuli: the images.
        digests: what the mask of each followed from when it was listed.
        raw: access to the data set.
        geometry: how images are moved.
        path: the file to write.
        threads: masks that are decoded at a time.

    Raises:
        InputError: a mask is missing, cannot be read, changed since it was listed, or has another size than its image.
    """
    size = geometry.size
    columns = {"mask": Column((size, size), np.uint8, "0 context, 1 class, 2 ignore", "label")}

    def decode(listed: tuple[Listed, str]) -> npt.NDArray[np.uint8]:
        item, digest = listed
        mask = Image.fromarray(listed_mask(raw, item, digest))
        require_same_size(item.file, raw.image(item.file, item.sha256), mask)
        return np.asarray(geometry.mask(mask))

    with RowWriter(path, len(stimuli), columns) as writer:
        for _, mask in in_order(decode, zip(stimuli, digests, strict=True), threads, "decoding masks"):
            writer.append({"mask": mask[None]})


def require_same_size(file: str, image: Image.Image, mask: Image.Image) -> None:
    """Refuse a mask that is not its image's.

    Raises:
        InputError: their sizes differ.
    """
    if image.size != mask.size:
        raise InputError(
            f"the mask of {file} has {mask.width} x {mask.height} pixels, the image {image.width} x {image.height}; "
            f"make them equal"
        )
