"""Fit a model's tuned lens and write its maps; `look` writes what is seen through them, and `gather` makes results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from classlens.filters import h5py
from classlens.hdf5 import describe
from classlens.inference.network import Network, load_network
from classlens.terms import block_name
from classlens.tuned_lens.fit import Fitted, Recipe, fit_maps


def fit_tuned_lens(
    training: str,
    weights: str,
    shards: Sequence[str],
    maps: str,
    *,
    steps: int,
    images_per_step: int,
    learning_rate: float,
    penalty: float,
    seed: int,
    batch_size: int,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write the maps of a model's tuned lens (docs/method.md, tuned lens).

    Args:
        training: pixel file of training images; their labels are not looked at.
        weights: canonical weights.
        shards: files of `sums.write_sums` over all training images; without any, a pass over them makes the sums.
        maps: the file to write: a group per block with weight (D, D) and bias (D); how they came about as attributes.
        steps: KL steps behind the ridge maps; 0 takes none.
        images_per_step: training images of a step.
        learning_rate: of the first step, see `steps.Descent`.
        penalty: of the ridge maps, see `ridge`.
        seed: of the held-out images and the order of steps.
        batch_size: images per forward pass, at most.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: there are no training images, or residuals or logits are not finite.
    """
    loaded = load_network(weights, **network)
    recipe = Recipe(steps, images_per_step, learning_rate, penalty, seed)
    fitted = fit_maps(loaded, training, recipe, batch_size, shards)
    text = "added to the block's output h, so that the head reads what the last block will say: h + M h + m"
    with h5py.File(maps, "w") as file:
        for block in range(len(fitted.maps)):
            group = file.create_group(block_name(block))
            group.attrs.update(sorted(_facts(fitted, block).items()))
            for name, values in {"bias": fitted.maps.bias, "weight": fitted.maps.weight}.items():
                dataset = group.create_dataset(name, data=values[block].numpy())
                describe(dataset, f"{'M' if name == 'weight' else 'm'} of the affine map {text}")
    return loaded.provenance()


def _facts(fitted: Fitted, block: int) -> dict[str, Any]:
    held_out = {f"held_out_kl_{name}": float(values[block]) for name, values in fitted.held_out.items()}
    return {
        "block": block,
        "chosen": fitted.chosen[block],
        "training_images": fitted.training_images,
        "held_out_images": fitted.held_out_images,
        **held_out,
    }
