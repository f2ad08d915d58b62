"""Write what replacing each head by its mean does to every image's correct class."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import torch

from classlens.causes.ablation import Ablation, head_sums
from classlens.causes.means import read_means
from classlens.filters import h5py
from classlens.hdf5 import Column, RowWriter
from classlens.inference.batches import over_images
from classlens.inference.network import Network, load_network, read_classes
from classlens.inference.ranks import refuse


def head_effects(
    pixels: str,
    weights: str,
    attribution: str,
    effects: str,
    means: str | None = None,
    *,
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Replace every head's output, at all tokens, by its mean over the images at that token (docs/method.md, causes).

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        attribution: the model's attribution file, whose `heads` are summed over tokens.
        effects: the file to write: effect (N, B, H), direct (N, B, H), logit (N).
        means: file of `means.head_means`, which a shard needs; None: they are taken over all images here.
        batch_size: images per forward pass, at most.
        start, stop: first and last + 1 image of a shard; by default of all.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: a class is none of the model's, or an effect is not finite.
    """
    loaded = load_network(weights, **network)
    classes = read_classes(pixels, loaded.model.num_classes)
    numbers = range(len(classes))[start:stop]
    if means is None:
        mean = (head_sums(loaded, pixels, batch_size, numbers) / len(numbers)).float()
    else:
        mean = torch.from_numpy(read_means(means)["mean"]).to(loaded.device)
    ablation = Ablation(loaded.model)
    columns = head_columns(*mean.shape[:2])
    with (
        h5py.File(attribution, "r") as attributed,
        RowWriter(effects, len(numbers), columns, loaded.attributes()) as writer,
    ):

        def run(images: torch.Tensor, part: slice) -> None:
            with loaded.autocast():
                found = ablation.heads(images, torch.from_numpy(classes[part]).to(loaded.device), mean)
            effect = found.effect.cpu().numpy()
            require_finite(effect, effects)
            direct = attributed["heads"][part].sum(-1, dtype=np.float64)
            writer.append({"effect": effect, "direct": direct.astype(np.float32), "logit": found.logit.cpu().numpy()})

        over_images(loaded, pixels, batch_size, "ablating heads", run, numbers)
    return loaded.provenance()


def head_columns(blocks: int, heads: int) -> dict[str, Column]:
    """Return the data sets of a file of `head_effects`."""
    return {
        "effect": Column(
            (blocks, heads),
            np.float32,
            "output logit of the correct class as it is minus what it becomes when a head is replaced by its mean over "
            "images: block, head",
            "logit",
            compress=False,
        ),
        "direct": Column(
            (blocks, heads),
            np.float32,
            "what a head writes into that logit, from all tokens: block, head",
            "logit",
            compress=False,
        ),
        "logit": Column((), np.float32, "output logit of the correct class", "logit", compress=False),
    }


def require_finite(effect: Any, path: str) -> None:
    """Refuse effects that are no numbers.

    Raises:
        InputError: one is not finite.
    """
    refuse(not np.isfinite(effect).all(), False, path)
