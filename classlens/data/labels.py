"""Which tokens lie on the object: SPEC section 5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classlens.data.raw import CLASS, IGNORE
from classlens.hdf5 import Column, RowWriter, iterate_rows

Masks = npt.NDArray[np.uint8]


def write_token_labels(
    masks: Path | str,
    path: Path | str,
    *,
    grid: tuple[int, int],
    rows: int,
    original: Callable[[int], Masks] | None = None,
) -> None:
    """Write `label` (N, P) int8 and `class_fraction` (N, P) float32.

    Args:
        masks: mask file (N, H, W) after the images' geometry.
        path: the file to write.
        grid: rows and columns of image tokens.
        rows: N.
        original: for `corner` labels, gives the mask of image i before any geometry (height, width).
    """
    tokens = grid[0] * grid[1]
    columns = {
        "label": Column((tokens,), np.int8, "1 class, 0 context, -1 ignore", "label"),
        "class_fraction": Column((tokens,), np.float32, "share of class pixels among the token's pixels"),
    }
    done = 0
    with RowWriter(path, rows, columns) as writer:
        for batch in iterate_rows(masks, ["mask"]):
            label, fraction = majority(batch["mask"], grid)
            if original is not None:
                label = np.stack([corner(original(done + i), grid) for i in range(len(label))])
            writer.append({"label": label, "class_fraction": fraction})
            done += len(label)


def majority(masks: Masks, grid: tuple[int, int]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Label tokens by the share of their pixels.

    Args:
        masks: (n, H, W), H and W multiples of the grid's rows and columns.

    Returns:
        label (n, P): 1 where at least half of the pixels are class, -1 where most are ignored, else 0; and the share
        of class pixels among all (n, P).
    """
    fraction = _share(masks == CLASS, grid)
    ignored = _share(masks == IGNORE, grid)
    label = np.where(fraction >= 0.5, 1, np.where(ignored > 0.5, -1, 0))
    return label.astype(np.int8), fraction.astype(np.float32)


def corner(mask: Masks, grid: tuple[int, int]) -> npt.NDArray[np.int8]:
    """Label tokens as the published code does: cell (r, c) takes the pixel at floor(index * size / grid).

    The mask is the original one, without the image's crop; ignored pixels count as context.
    """
    rows, columns = (np.arange(cells) * length // cells for cells, length in zip(grid, mask.shape, strict=True))
    picked: npt.NDArray[np.int8] = (mask[np.ix_(rows, columns)] == CLASS).astype(np.int8).reshape(-1)
    return picked


def _share(of: npt.NDArray[np.bool_], grid: tuple[int, int]) -> npt.NDArray[Any]:
    count, height, width = of.shape
    cells = of.reshape(count, grid[0], height // grid[0], grid[1], width // grid[1])
    return np.asarray(cells.mean(axis=(2, 4)).reshape(count, -1))
