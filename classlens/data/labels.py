"""Which tokens lie on the object, see docs/method.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import numpy.typing as npt

from classlens.data.cells import cells
from classlens.data.mask import CLASS, IGNORE, Mask
from classlens.data.source import Place, Source
from classlens.data.stimulus import read_mask_digests, read_stimuli
from classlens.hdf5 import Column, RowWriter, iterate_rows


def write_token_labels(
    *,
    masks: str,
    stimuli: str,
    digests: str,
    labels: str,
    source: type[Source],
    grid: Sequence[int],
    patch: Sequence[int] | None = None,
    mode: str,
    **place: Unpack[Place],
) -> None:
    """Write `label` (N, P) int8 and `class_fraction` (N, P) float32.

    Args:
        masks: mask file (N, H, W) after the images' geometry.
        stimuli: stimuli.csv.
        digests: masks.csv.
        labels: the file to write.
        source: kind of data set.
        grid: rows and columns of image tokens.
        patch: height and width of each, see `cells`.
        mode: "majority", or "corner", which labels tokens by the masks before any geometry.
        place: see `classlens.data.source.Place`.

    Raises:
        InputError: a mask is missing, cannot be read, or changed since it was listed.
    """
    rows, columns = grid
    originals = source(**place)
    listed = list(zip(read_stimuli(stimuli, "evaluation"), read_mask_digests(digests), strict=True))
    fields = label_columns(rows * columns)
    done = 0
    with RowWriter(labels, len(listed), fields) as writer:
        for batch in iterate_rows(masks, ["mask"]):
            label, fraction = majority(batch["mask"], (rows, columns), patch)
            images = listed[done : done + len(label)]
            if mode == "corner":
                own = (originals.mask(item.file, item.class_id, digest) for item, digest in images)
                label = np.stack([corner(mask, (rows, columns)) for mask in own])
            writer.append({"label": label, "class_fraction": fraction})
            done += len(label)


def majority(
    masks: npt.NDArray[np.uint8], grid: Sequence[int], patch: Sequence[int] | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Label tokens by the share of their pixels.

    Args:
        masks: (n, H, W).
        grid, patch: see `cells`.

    Returns:
        label (n, P): 1 where at least half of the pixels are class, -1 where most are ignored, else 0; and the share
        of class pixels among all (n, P).
    """
    of_tokens = cells(masks, grid, patch)
    fraction, ignored = (np.asarray((of_tokens == value).mean(-1)) for value in (CLASS, IGNORE))
    label = np.where(fraction >= 0.5, 1, np.where(ignored > 0.5, -1, 0))
    return label.astype(np.int8), fraction.astype(np.float32)


def corner(mask: Mask, grid: tuple[int, int]) -> npt.NDArray[np.int8]:
    """Label tokens as the published code does: cell (r, c) takes the pixel at floor(index * size / grid).

    The mask is the original one, without the image's crop; ignored pixels count as context.
    """
    rows, columns = (np.arange(cells) * length // cells for cells, length in zip(grid, mask.shape, strict=True))
    picked: npt.NDArray[np.int8] = (mask[np.ix_(rows, columns)] == CLASS).astype(np.int8).reshape(-1)
    return picked


def label_columns(tokens: int) -> dict[str, Column]:
    """Return the data sets of a file of `write_token_labels`."""
    return {
        "label": Column((tokens,), np.int8, "1 class, 0 context, -1 ignore", "label"),
        "class_fraction": Column((tokens,), np.float32, "share of class pixels among the token's pixels"),
    }
