"""Sums over training images that ridge maps follow from; what a job writes of a shard of them is added by another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.filters import h5py
from classlens.hdf5 import describe
from classlens.inference.activations import residuals
from classlens.inference.batches import over_images
from classlens.inference.network import LoadedModel, Network, load_network
from classlens.tuned_lens.held_out import fitted_images, inside
from classlens.tuned_lens.ridge import AffineSums


def write_sums(
    training: str,
    weights: str,
    shard: str,
    *,
    seed: int,
    start: int,
    stop: int,
    batch_size: int,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write the sums over those training images of a shard that are not held out.

    Args:
        training: pixel file of training images; their labels are not looked at.
        weights: canonical weights.
        shard: the file to write: the sums of `AffineSums` by name, float64; attribute `count`, tokens that they are of.
        seed: of the held-out images.
        start, stop: first and last + 1 image of the shard.
        batch_size: images per forward pass, at most.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: residuals are not finite.
    """
    loaded = load_network(weights, **network)
    with h5py.File(training, "r") as file:
        chosen = fitted_images(len(file["pixels"]), seed)
    sums = sum_residuals(loaded, training, chosen, batch_size, range(start, stop))
    with h5py.File(shard, "w") as file:
        for name, total in sums.totals().items():
            describe(file.create_dataset(name, data=total.cpu().numpy()), f"{name} of a shard's tokens, see AffineSums")
        file.attrs["count"] = sums.count
    return loaded.provenance()


def add_sums(loaded: LoadedModel, shards: Sequence[str]) -> AffineSums:
    """Return the sums over all shards, added in their order, so that they do not depend on when they were made."""
    sums = _empty(loaded)
    for shard in shards:
        with h5py.File(shard, "r") as file:
            for name, total in sums.totals().items():
                total += torch.from_numpy(file[name][:]).to(total.device)
            sums.count += int(file.attrs["count"])
    return sums


def sum_residuals(
    loaded: LoadedModel, training: str, chosen: Array, batch_size: int, numbers: range | None = None
) -> AffineSums:
    """Return the sums over chosen images, of all or of some numbers in the file, in one pass.

    Raises:
        InputError: residuals are not finite.
    """
    sums = _empty(loaded)

    @torch.no_grad()
    def run(images: torch.Tensor, part: slice) -> None:
        some = images[inside(chosen, part)]
        if len(some):
            with loaded.autocast():
                outputs = residuals(loaded.model, some)
            if not all(bool(torch.isfinite(output).all()) for output in outputs):
                raise InputError("residuals are not finite; check the weights, or set extraction.precision to float32")
            sums.add([output.to(sums.device) for output in outputs])

    over_images(loaded, training, batch_size, "sums of the tuned lens", run, numbers)
    return sums


def _empty(loaded: LoadedModel) -> AffineSums:
    # Apple's GPUs have no float64.
    device = torch.device("cpu") if loaded.device.type == "mps" else loaded.device
    return AffineSums(len(loaded.model.blocks) - 1, loaded.model.embed_dim, device)
