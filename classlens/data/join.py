"""Put the parts of a split's pixels together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import accumulate

import numpy as np

from classlens.batching import batches
from classlens.data.order import as_stored
from classlens.data.pixels import pixel_writer, read_images
from classlens.h5 import h5py
from classlens.progress import Progress

ROWS = 64
"""Images that are copied at a time."""


def join_pixels(*, parts: Sequence[str], stimuli: str, pixels: str, split: str) -> None:
    """Write the file that `write_pixels` would have written at once, byte by byte, from files of parts.

    Memory holds a few chunks, whatever the number of images is.

    Args:
        parts: files of all images, in the order in which these are stored.
        stimuli: stimuli.csv.
        pixels: the file to write.
        split: "evaluation" or "training".

    Raises:
        InputError: there is no image.
        ValueError: the parts hold another number of images.
    """
    listed = read_images(stimuli, split)
    stored = np.empty(len(listed), int)
    stored[as_stored([item.file for item in listed])] = np.arange(len(listed))
    with ExitStack() as stack, Progress(len(listed), "joining images") as progress:
        # Rows are taken from anywhere: a cache of chunks would read each of them many times.
        opened = [stack.enter_context(h5py.File(part, rdcc_nbytes=0))["pixels"] for part in parts]
        starts = np.array([*accumulate(map(len, opened), initial=0)])
        if starts[-1] != len(listed):
            raise ValueError(f"the parts hold {starts[-1]} images instead of {len(listed)}")
        size = opened[0].shape[1:3]
        with pixel_writer(pixels, listed, size) as writer:
            for batch in batches(len(listed), ROWS):
                images = np.empty((batch.stop - batch.start, *size, 3), np.uint8)
                for image, row in zip(images, stored[batch], strict=True):
                    part = np.searchsorted(starts, row, "right") - 1
                    opened[part].read_direct(image, np.s_[row - starts[part]])
                classes = np.array([item.class_index for item in listed[batch]])
                writer.append({"pixels": images, "class_index": classes})
                progress.advance(len(images))
