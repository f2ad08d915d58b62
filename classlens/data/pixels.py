"""Decode and transform a data set's images and masks once, for all models that take them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import prod
from typing import Unpack

import numpy as np
import numpy.typing as npt
from PIL import Image

from classlens.data.contrast import Contrast, Coverage, Seen, seen
from classlens.data.geometry import Geometry, Size, sides
from classlens.data.mask import Mask
from classlens.data.order import as_stored
from classlens.data.source import Place, Source
from classlens.data.stimulus import Listed, read_mask_digests, read_stimuli
from classlens.data.threads import in_order
from classlens.errors import InputError
from classlens.hdf5 import CHUNK_ROWS, Column, RowWriter, index_dtype

CHUNK_BYTES = 2**21
TURNED = " (a mask lies on its image as the camera's rotation, in its EXIF notes, turns it)"

log = logging.getLogger(__name__)


def write_pixels(
    *,
    stimuli: str,
    pixels: str,
    source: type[Source],
    geometry: Geometry,
    split: str,
    threads: int,
    part: Sequence[int] | None = None,
    **place: Unpack[Place],
) -> None:
    """Write `pixels` (N, height, width, channels) uint8 and `class_index` (N), in the order of the stimuli.

    There are three channels but where the data set says others.

    Memory holds a few chunks, whatever N is.

    Args:
        stimuli: stimuli.csv.
        pixels: the file to write.
        source: kind of data set.
        geometry: how images are moved.
        split: "evaluation" or "training".
        threads: images that are decoded at a time.
        part: write some images alone: in the order in which they are stored, the first and the one after the last.
        place: see `Place`.

    Raises:
        InputError: there is no image, or one cannot be read, or changed since it was listed.
    """
    images, listed = source(**place), read_images(stimuli, split)
    if part is not None:
        listed = [listed[index] for index in as_stored([item.file for item in listed])[slice(*part)]]

    def decode(item: Listed) -> tuple[npt.NDArray[np.uint8], Seen]:
        image = images.image(item.file, item.sha256)
        return np.asarray(geometry.image(image)), seen(image)

    contrast = Contrast()
    with pixel_writer(pixels, listed, geometry.size, images.channels or 3) as writer:
        for item, (image, looked) in in_order(decode, listed, threads, "decoding images"):
            contrast.add(looked)
            writer.append({"pixels": image[None], "class_index": np.array([item.class_index])})
    for doubt in contrast.doubts(images.name):
        log.warning("%s", doubt)


def read_images(stimuli: str, split: str) -> list[Listed]:
    """Return the images of a split of stimuli.csv.

    Raises:
        InputError: there is none.
    """
    listed = read_stimuli(stimuli, split)
    if not listed:  # the evaluation split always has some
        raise InputError("there are no training images; raise the data set's train_per_class, or lower its per_class")
    return listed


def pixel_writer(path: str, listed: Sequence[Listed], size: Size, channels: int = 3) -> RowWriter:
    """Return what writes a file of pixels.

    Args:
        path: the file.
        listed: its images.
        size: of each.
        channels: of each.
    """
    columns = pixel_columns(size, 1 + max(item.class_index for item in listed), channels)
    return RowWriter(path, len(listed), columns, chunk_rows=pixel_chunk_rows(size, channels))


def pixel_columns(size: Size, classes: int, channels: int = 3) -> dict[str, Column]:
    """Return the data sets of a file of images, whose class indices lie below a number."""
    what = "red, green and blue" if channels == 3 else "channels"
    return {
        "pixels": Column((*sides(size), channels), np.uint8, what, "1/255", compress=False),
        "class_index": Column((), index_dtype(classes), "class of each image", "class index", compress=False),
    }


def pixel_chunk_rows(size: Size, channels: int = 3) -> int:
    """Return the images in a chunk of a file of pixels."""
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // (channels * prod(sides(size)))))


def mask_columns(size: Size) -> dict[str, Column]:
    """Return the data sets of a file of masks."""
    return {"mask": Column(sides(size), np.uint8, "0 context, 1 class, 2 ignore", "label")}


def write_masks(
    *,
    stimuli: str,
    digests: str,
    masks: str,
    source: type[Source],
    geometry: Geometry,
    threads: int,
    **place: Unpack[Place],
) -> None:
    """Write `mask` (N, height, width) uint8: 0 context, 1 class, 2 ignore, of the evaluation images.

    Args:
        stimuli: stimuli.csv.
        digests: masks.csv.
        masks: the file to write.
        source: kind of data set.
        geometry: how images are moved.
        threads: masks that are decoded at a time.
        place: see `Place`.

    Raises:
        InputError: a mask is missing, cannot be read, changed since it was listed, or has another size than its image.
    """
    images, listed = source(**place), read_stimuli(stimuli, "evaluation")
    columns, coverage = mask_columns(geometry.size), Coverage()

    def decode(row: tuple[Listed, str]) -> tuple[npt.NDArray[np.uint8], Mask]:
        item, digest = row
        mask = images.mask(item.file, item.class_id, digest)
        moved = Image.fromarray(mask)
        require_same_size(item.file, images.image(item.file, item.sha256), moved)
        return np.asarray(geometry.mask(moved)), mask

    with RowWriter(masks, len(listed), columns) as writer:
        rows = zip(listed, read_mask_digests(digests), strict=True)
        for _, (moved, mask) in in_order(decode, rows, threads, "decoding masks"):
            coverage.add(mask)
            writer.append({"mask": moved[None]})
    for doubt in coverage.doubts(images.name):
        log.warning("%s", doubt)


def require_same_size(file: str, image: Image.Image, mask: Image.Image) -> None:
    """Refuse a mask that is not its image's.

    Raises:
        InputError: their sizes differ.
    """
    if image.size != mask.size:
        raise InputError(
            f"the mask of {file} has {mask.width} x {mask.height} pixels, the image {image.width} x {image.height}; "
            f"make them equal{TURNED if image.size == mask.size[::-1] else ''}"
        )
