"""Rates of what `classlens.measures.block_memories` wrote: per image, and per class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.h5 import h5py
from classlens.hdf5 import iterate_rows
from classlens.measures.memory_chance import shared_memory
from classlens.measures.memory_parameters import STRONGEST
from classlens.terms import BRANCHES


def rows_of(attn: Sequence[str], mlp: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return what every row of a table is about, in the columns branch and block, and the file of each."""
    both = zip(BRANCHES, (attn, mlp), strict=True)
    rows = [(branch, block) for branch, files in both for block in range(len(files))]
    return pd.DataFrame(rows, columns=["branch", "block"]), [*attn, *mlp]


def image_rates(path: str, name: str, tokens: slice = slice(None)) -> Array:
    """Return the share of each image's tokens at which a data set is true: (N)."""
    return np.concatenate([rows[name][:, tokens].mean(1) for rows in iterate_rows(path, [name])])


def class_rates(paths: Sequence[str], name: str, class_index: Array) -> Array:
    """Return the share of each class's images and tokens at which a data set is true.

    Args:
        paths: n files.
        name: of the data set.
        class_index: (N), the class of each image.

    Returns:
        (K, n), for the K classes of the images, ascending.
    """
    _, inverse, counts = np.unique(class_index, return_inverse=True, return_counts=True)
    # Images have equally many tokens, so the mean over images is that over images and tokens.
    return np.stack([np.bincount(inverse, image_rates(path, name)) / counts for path in paths], axis=1)


def hit_chance(path: str) -> float:
    """Return the chance of agreement of random keys with random memories, given a memory file."""
    with h5py.File(path, "r") as file:
        memories = int(file.attrs["memories"])
    few = min(STRONGEST, memories)
    return shared_memory(memories, few, few)


def read_class_index(output: str) -> Array:
    """Return the correct class of each image (N) from the model's output file."""
    with h5py.File(output, "r") as file:
        return np.asarray(file["class_index"])
