"""Sums over images that a pass needs beforehand: of all of them in one job, or shard by shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.h5 import h5py
from classlens.hdf5 import describe
from classlens.inference.batches import over_images
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel, load_network, take_network
from classlens.passes.base import Summed, Sums


def write_sums(
    pixels: str, weights: str, shard: str, *, of: type[Sums], start: int, stop: int, batch_size: int, **given: Any
) -> dict[str, Any]:
    """Write sums over the images of a shard.

    Args:
        pixels: pixel file.
        weights: canonical weights.
        shard: the file to write: the sums by name, float64; attribute `count`, what they are sums of.
        of: what sums.
        start, stop: first and last + 1 image of the shard.
        batch_size: images per forward pass, at most.
        given: settings of `of`, and those of `Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: what is summed is not finite.
    """
    loaded = load_network(weights, **take_network(given))
    with frozen_eval_mode(loaded.model):
        _write(sum_images(of, loaded, pixels, range(start, stop), batch_size, **given), shard)
    return loaded.provenance()


def add_sums(shards: Sequence[str], summed: str) -> None:
    """Write the sums over all images from those of shards, see `read_sums`."""
    _write(read_sums(shards), summed)


def read_sums(shards: Sequence[str]) -> Summed:
    """Return the sums of shards, added in their order, so that they do not depend on when they were made.

    How images were split into shards may show in a sum's last bit.
    """
    totals: dict[str, Array] = {}
    count = 0
    for shard in shards:
        with h5py.File(shard, "r") as file:
            totals = {name: totals.get(name, 0) + values[:] for name, values in file.items()}
            count += int(file.attrs["count"])
    return Summed(totals, count)


def sum_images(
    of: type[Sums], loaded: LoadedModel, pixels: str, numbers: range, batch_size: int, **settings: Any
) -> Summed:
    """Return sums over stored images, in one pass over them.

    Args:
        of: what sums.
        loaded: the model.
        pixels: pixel file.
        numbers: of the images, one after the other.
        batch_size: images per forward pass, at most.
        settings: of `of`.

    Raises:
        InputError: what is summed is not finite.
    """
    with h5py.File(pixels, "r") as file:
        sums = of(loaded, len(file["pixels"]), **settings)

    def run(images: torch.Tensor, part: slice) -> None:
        with torch.no_grad(), loaded.autocast():
            sums.add(images, part.start)

    over_images(loaded, pixels, batch_size, of.doing, run, numbers)
    return Summed({name: np.asarray(total.cpu()) for name, total in sums.totals().items()}, sums.count)


def sums_of_all(
    of: type[Sums], loaded: LoadedModel, pixels: str, shards: Sequence[str], batch_size: int, **settings: Any
) -> Summed:
    """Return sums over all stored images: from files of `write_sums`, or without any by a pass over them."""
    if shards:
        return read_sums(shards)
    with h5py.File(pixels, "r") as file:
        images = len(file["pixels"])
    return sum_images(of, loaded, pixels, range(images), batch_size, **settings)


def _write(summed: Summed, path: str) -> None:
    with h5py.File(path, "w") as file:
        for name, total in summed.totals.items():
            describe(file.create_dataset(name, data=total), f"{name}, summed over images")
        file.attrs["count"] = summed.count
