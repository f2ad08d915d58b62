"""Means over images that no single job sees all of: sums of shards, and what is replaced by what follows from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classlens.arrays import Array
from classlens.causes.outliers import norm_thresholds
from classlens.filters import h5py
from classlens.hdf5 import describe
from classlens.measures.layers import read_layout


def head_means(shards: Sequence[str], means: str) -> None:
    """Write what each head puts out at each token, averaged over images: `mean` (B, H, T, d) float32.

    Args:
        shards: files that `sums.write_sums` writes. They are added in this order, so that a mean does not depend on
            when they were made; how images were split into them may show in a sum's last bit.
        means: the file to write.
    """
    _write(means, {"mean": (_mean(shards), "output of each head, averaged over images: block, head, token")})


def token_means(shards: Sequence[str], layers: Sequence[str], means: str, *, outlier_norm: float | None) -> None:
    """Write every block's output, averaged over images, and from which norm on an image token is an outlier.

    Args:
        shards: as of `head_means`.
        layers: the model's layer files in block order.
        means: the file to write: `mean` (B, T, D) float32, `threshold` (B).
        outlier_norm: see `norm_thresholds`.
    """
    thresholds = norm_thresholds(layers, read_layout(layers[0]), outlier_norm)
    described = {
        "mean": (_mean(shards), "output of each block, averaged over images: block, token"),
        "threshold": (thresholds, "Euclidean norm above which an image token is an outlier: block"),
    }
    _write(means, described)


def read_means(means: str) -> dict[str, Array]:
    """Return the data sets of a file of `head_means` or `token_means`."""
    with h5py.File(means) as file:
        return {name: np.asarray(values) for name, values in file.items()}


def _mean(shards: Sequence[str]) -> Array:
    total, images = np.zeros(()), 0
    for shard in shards:
        with h5py.File(shard) as file:
            total = total + file["sum"][:]
            images += int(file.attrs["images"])
    return (total / images).astype(np.float32)


def _write(path: str, described: dict[str, tuple[Array, str]]) -> None:
    with h5py.File(path, "w") as file:
        for name, (values, text) in described.items():
            describe(file.create_dataset(name, data=values), text)
