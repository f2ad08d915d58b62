"""Fit a model's tuned lens on training images: ridge maps, then KL steps, and of each block the best on held-out ones.

No residual outlives its batch: memory is bounded by a batch and by the sums of `AffineSums`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.hdf5 import describe
from classlens.inference.activations import residuals
from classlens.inference.batches import over_images
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel, Network, load_network
from classlens.inference.projection import Projection
from classlens.passes.sums import sums_of_all
from classlens.passes.tuned_lens import TunedLensSums
from classlens.terms import block_name
from classlens.tuned_lens.divergence import divergence
from classlens.tuned_lens.held_out import fitted_images, held_out_images, inside
from classlens.tuned_lens.map_names import LENS, RIDGE, STEPS
from classlens.tuned_lens.maps import Maps
from classlens.tuned_lens.ridge import AffineSums
from classlens.tuned_lens.steps import Descent, seeded_batches

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How a tuned lens is fitted; see the config's `tuned_lens`."""

    steps: int
    images_per_step: int
    learning_rate: float
    penalty: float
    seed: int


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
        shards: see `classlens.passes.sums.sums_of_all`.
        maps: the file to write: a group per block with weight (D, D) and bias (D); how they came about as attributes.
        steps: KL steps after the ridge maps; 0 takes none.
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
    fitted, facts = fit_maps(loaded, training, recipe, batch_size, shards)
    text = "added to the block's output h, so that the head reads what the last block will say: h + M h + m"
    with h5py.File(maps, "w") as file:
        for block, of_block in enumerate(facts):
            group = file.create_group(block_name(block))
            group.attrs.update(sorted(of_block.items()))
            for name, values in {"bias": fitted.bias, "weight": fitted.weight}.items():
                dataset = group.create_dataset(name, data=values[block].numpy())
                describe(dataset, f"{'M' if name == 'weight' else 'm'} of the affine map {text}")
    return loaded.provenance()


def fit_maps(
    loaded: LoadedModel, training: str, recipe: Recipe, batch_size: int, shards: Sequence[str] = ()
) -> tuple[Maps, list[dict[str, Any]]]:
    """Fit the maps of all blocks but the last one (docs/method.md, tuned lens).

    Args:
        loaded: the model.
        training: pixel file of training images; their labels are not looked at.
        recipe: how.
        batch_size: images per forward pass, at most.
        shards: see `classlens.passes.sums.sums_of_all`.

    Returns:
        maps of all B blocks, that of the last one being none; and for each block how its map came about: `block`;
        `chosen`, which is `logit_lens`, `ridge` or `kl_steps`; `held_out_kl_{name}` of what was tried, the mean KL in
        nats over the tokens of held-out images; `training_images` that maps were fitted to; `held_out_images` that
        decided between them.

    Raises:
        InputError: there are no training images, or residuals or logits are not finite.
    """
    with h5py.File(training, "r") as file:
        images = len(file["pixels"])
    if not images:
        raise InputError("there are no training images; raise the data set's key `train_per_class`")
    blocks, width = len(loaded.model.blocks), int(loaded.model.embed_dim)
    held_out = held_out_images(images, recipe.seed)
    fitted_to = fitted_images(images, recipe.seed)
    facts = {"training_images": len(fitted_to), "held_out_images": len(held_out)}
    nothing = Maps(torch.zeros(blocks, width, width), torch.zeros(blocks, width))
    if blocks == 1 or not len(held_out):
        if blocks > 1:
            log.warning("a single training image leaves none to hold out: the tuned lens is the logit lens")
        return nothing, [{"block": block, "chosen": LENS, **facts} for block in range(blocks)]
    tried = {LENS: nothing}
    with ExitStack() as stack:
        stack.enter_context(frozen_eval_mode(loaded.model))
        summed = sums_of_all(TunedLensSums, loaded, training, shards, batch_size, seed=recipe.seed)
        sums = AffineSums.of(loaded, summed.totals, summed.count)
        weight, bias, scale = sums.solve(recipe.penalty)
        del sums, summed
        tried[RIDGE] = _of_all_blocks(*scale.of_residual(weight, bias))
        if recipe.steps:
            descent = Descent(loaded, weight, bias, scale, recipe.learning_rate)
            pixels = stack.enter_context(h5py.File(training, "r"))["pixels"]
            drawn = seeded_batches(fitted_to, recipe.steps, recipe.images_per_step, recipe.seed)
            descent.run(pixels, drawn, batch_size)
            tried[STEPS] = _of_all_blocks(*descent.found())
        divergences = _held_out(loaded, training, held_out, list(tried.values()), batch_size)
    found = [dict(zip(tried, map(float, of_block), strict=True)) for of_block in zip(*divergences, strict=True)]
    chosen = [_best(of_block) for of_block in found]
    for block, name in enumerate(chosen[:-1]):
        if name == LENS:
            log.warning("block %d: no map is better than the logit lens on held-out images, so it stays", block)
    picked = [(tried[name].weight[block], tried[name].bias[block]) for block, name in enumerate(chosen)]
    told = [
        {"block": block, "chosen": name, **facts, **{f"held_out_kl_{kind}": kl for kind, kl in found[block].items()}}
        for block, name in enumerate(chosen)
    ]
    return Maps(torch.stack([one for one, _ in picked]), torch.stack([one for _, one in picked])), told


def _best(divergences: dict[str, float]) -> str:
    """Return what has the smallest divergence; of equals the first. What is not a number is no candidate."""
    return min(divergences, key=lambda name: np.nan_to_num(divergences[name], nan=np.inf))


def _of_all_blocks(weight: torch.Tensor, bias: torch.Tensor) -> Maps:
    """Return maps of K blocks in the type of files, and none for the last block."""
    return Maps(*(torch.cat([part, torch.zeros_like(part[:1])]).float().cpu() for part in (weight, bias)))


def _held_out(loaded: LoadedModel, training: str, chosen: Array, tried: Sequence[Maps], batch_size: int) -> list[Array]:
    """Return the mean divergence (B) over the tokens of some images for each of several maps."""
    project = Projection(loaded.model)
    tried = [maps.to(loaded.device) for maps in tried]
    blocks, total, count = len(loaded.model.blocks), np.zeros((len(tried), len(loaded.model.blocks))), 0

    @torch.no_grad()
    def run(images: torch.Tensor, part: slice) -> None:
        nonlocal total, count
        some = images[inside(chosen, part)]
        if not len(some):
            return
        with loaded.autocast():
            outputs = residuals(loaded.model, some)
            target = project(outputs[-1]).log_softmax(-1)
            found = [
                [divergence(target, project(maps(block, outputs[block]))).sum().item() for block in range(blocks)]
                for maps in tried
            ]
        total, count = total + np.array(found), count + target[..., 0].numel()

    over_images(loaded, training, batch_size, "choosing the tuned lens", run)
    return list(total / count)
