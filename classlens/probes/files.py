"""The files of linear probes, see the file contract in docs/files.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from classlens.arrays import Array
from classlens.h5 import h5py
from classlens.hdf5 import Column, RowWriter, describe, index_dtype
from classlens.inference.sites import SITE_NAMES

MISSING = -1
"""Rank at a token without a probe."""


def write_probe(path: str, rank: Array, correct: Array, facts: Mapping[str, Any]) -> None:
    """Write the file of one site of one block.

    Args:
        path: the HDF5 file to write: `accuracy` (T), `rank` (N, T).
        rank: (N, T), `MISSING` at tokens without a probe, for which accuracy is NaN. Then it is stored as int32.
        correct: (N, T) bool, the probe's largest score is the correct class's.
        facts: attributes of the file, among them site and num_classes.
    """
    probed = rank[0] != MISSING
    where = SITE_NAMES[facts["site"]]
    columns = probe_columns(rank.shape[1], facts["num_classes"], where, everywhere=bool(probed.all()))
    with RowWriter(path, len(rank), columns, facts) as writer:
        writer.append({"rank": rank})
    accuracy = np.where(probed, correct.mean(0), np.nan).astype(np.float32)
    with h5py.File(path, "r+") as file:
        dataset = file.create_dataset("accuracy", data=accuracy)
        describe(dataset, f"share of images that the token's probe at {where} gets right; NaN without a probe")


def probe_columns(tokens: int, num_classes: int, where: str, *, everywhere: bool) -> dict[str, Column]:
    """Return the data sets with a row per image of a file of `write_probe`, of T tokens and C classes at a site.

    `everywhere` says that every token has a probe.
    """
    text = f"number of classes with a larger score than the correct one, of probes at {where}; -1 without a probe"
    return {"rank": Column((tokens,), index_dtype(num_classes) if everywhere else np.int32, text, "classes")}
