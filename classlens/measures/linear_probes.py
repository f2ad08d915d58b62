"""Accuracy of linear probes beside that of the class projection, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.hdf5 import iterate_rows
from classlens.measures.layers import Layout, read_layout
from classlens.statistics.resampling import Resampling, mean_columns
from classlens.terms import SITES


def linear_probes(probes: Sequence[str], layers: Sequence[str], table: str, *, resampling: Resampling) -> None:
    """Compare what probes and the class projection read of the class, at the same tokens.

    Args:
        probes: the model's probe files, of any sites and blocks.
        layers: its layer files in block order.
        table: the table to write, a row per method (`probe`, `projection`), site, block (from 0) and group of tokens
            (`cls`, `image`; only those with probes). Columns: method, site, block, group, images, accuracy (share of
            an image's tokens at which no class is above the correct one, averaged over images), ci_low, ci_high
            (bootstrap over images).
    """
    layout = read_layout(layers[0])
    rows = sorted(
        (row for probe in probes for row in _of_file(probe, layers, layout)),
        key=lambda row: (row[0], SITES.index(row[1]), *row[2:4]),
    )
    shares = np.stack([share for *_, share in rows], axis=1)
    rates = pd.DataFrame([names for *names, _ in rows], columns=["method", "site", "block", "group"])
    write_table(rates.assign(images=len(shares), **mean_columns(shares, resampling, "accuracy")), table)


def _of_file(probe: str, layers: Sequence[str], layout: Layout) -> Iterator[tuple[str, str, int, str, Array]]:
    """Yield method, site, block, group and each image's share of tokens that are right (N)."""
    with h5py.File(probe, "r") as file:
        site, block = str(file.attrs["site"]), int(file.attrs["block"])
        probed = np.isfinite(file["accuracy"][:])
    for method, path, name in (("probe", probe, "rank"), ("projection", layers[block], f"{site}/rank")):
        right = np.concatenate([rows[name] == 0 for rows in iterate_rows(path, [name])])
        for group, tokens in layout.groups.items():
            chosen = probed[tokens]
            if chosen.any():
                yield method, site, block, group, right[:, tokens][:, chosen].mean(1)
