"""Importance of image tokens by linear probes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.hdf5 import Column, RowWriter, iterate_rows


def probe_explanation(probes: Sequence[str], explanation: str) -> None:
    """Write minus the sum over blocks of every image token's rank, `importance` (N, P) float32.

    See docs/method.md, linear probes. It takes the model's probe files at `residual`, of all blocks.

    Raises:
        InputError: some image token has no probe.
    """
    with h5py.File(probes[0], "r") as file:
        images, tokens = file["rank"].shape
        prefix = int(file.attrs["num_prefix_tokens"])
    what = "minus the sum over blocks of the rank of linear probes at residual"
    column = Column((tokens - prefix,), np.float32, what, "classes")
    with RowWriter(explanation, images, {"importance": column}) as writer:
        for of_blocks in zip(*(iterate_rows(probe, ["rank"]) for probe in probes), strict=True):
            ranks = np.stack([rows["rank"][:, prefix:] for rows in of_blocks]).astype(np.int64)
            if (ranks < 0).any():
                raise InputError("probe importance needs probes of all image tokens; take all tokens in the config")
            writer.append({"importance": -ranks.sum(0)})
