"""Write what is summed over the images of a shard, see `classlens.causes.means`."""

from __future__ import annotations

from typing import Any, Unpack

from classlens.causes.ablation import Sums
from classlens.filters import h5py
from classlens.hdf5 import describe
from classlens.inference.network import Network, load_network


def write_sums(
    pixels: str,
    weights: str,
    shard: str,
    *,
    sums: Sums,
    start: int,
    stop: int,
    batch_size: int,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write a sum over the images of a shard.

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        shard: the file to write: `sum` float64; attribute `images`, their number.
        sums: `ablation.head_sums` or `ablation.residual_sums`.
        start, stop: first and last + 1 image of the shard.
        batch_size: images per forward pass, at most.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.
    """
    loaded = load_network(weights, **network)
    total = sums(loaded, pixels, batch_size, range(start, stop))
    with h5py.File(shard, "w") as file:
        describe(file.create_dataset("sum", data=total.cpu().numpy()), "sum over the images of a shard")
        file.attrs["images"] = stop - start
    return loaded.provenance()
