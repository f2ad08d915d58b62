"""Removal curves of an explanation: accuracy against the number of removed image tokens (docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from classlens.errors import InputError
from classlens.faithfulness.joined import join_removal_curves
from classlens.faithfulness.orders import batch_importance
from classlens.faithfulness.removal import TokenRemoval
from classlens.faithfulness.right import right_columns, right_rows
from classlens.faithfulness.steps import importance_order, removal_counts
from classlens.hdf5 import RowWriter
from classlens.inference.batches import over_images
from classlens.inference.network import Network, load_network, read_classes


def removal_curves(
    pixels: str,
    weights: str,
    explanation: Sequence[str],
    curves: str,
    correct_per_image: str,
    *,
    batch_size: int,
    counts: Sequence[int] | None = None,
    seeds: Sequence[int] = (),
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write the removal curves of an explanation, and per image what they are means of.

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        explanation: one file, whose `importance` (N, P) orders the tokens; none: random orders.
        curves: the table to write. Columns: direction (negative keeps the most important tokens, positive the least
            important), n_removed (0..P-1), accuracy (a fraction); for random orders accuracy is the mean over seeds,
            and accuracy_low and accuracy_high are the extremes.
        correct_per_image: the HDF5 file to write: `negative`, `positive` (N, steps) float32, the share of orders
            under which the model is right; attributes `n_removed` (steps) and `image_tokens` (P).
        batch_size: whole images per forward pass, at most; correspondingly more where tokens are removed.
        counts: numbers of image tokens to keep, 1..P; None: see `removal_counts`.
        seeds: of random orders, each image having its own; must be given when there is no explanation, and only then.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: the explanation does not fit the images or holds NaN, a count is out of range, or a label is no
            class of the model.
    """
    right = f"{correct_per_image}.right"
    noted = remove_tokens(
        pixels, weights, explanation, right, batch_size=batch_size, counts=counts, seeds=seeds, **network
    )
    join_removal_curves([right], curves, correct_per_image, seeds=seeds)
    Path(right).unlink()
    return noted


def remove_tokens(
    pixels: str,
    weights: str,
    explanation: Sequence[str],
    right: str,
    *,
    batch_size: int,
    counts: Sequence[int] | None = None,
    seeds: Sequence[int] = (),
    start: int = 0,
    stop: int | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write what removal curves are means of: whether the model is right about each image, by order and step.

    Args:
        pixels, weights, explanation, batch_size, counts, seeds, network: see `removal_curves`.
        right: the HDF5 file to write, see `right_columns`; attributes `n_removed` (steps) and `image_tokens` (P).
        start, stop: first and last + 1 image of a shard; by default of all.

    Returns:
        provenance: the device.

    Raises:
        InputError: see `removal_curves`.
    """
    loaded = load_network(weights, **network)
    removal = TokenRemoval(loaded.model)
    patches = removal.tokens.patches
    # Falling, so that the numbers of removed tokens rise.
    kept = sorted(set(_checked(counts, patches)), reverse=True)
    removed = [patches - count for count in kept]
    classes = read_classes(pixels, loaded.model.num_classes)
    numbers = range(len(classes))[start:stop]
    importance = batch_importance(explanation, seeds, len(classes), patches, numbers)
    attributes = {"n_removed": np.asarray(removed, np.int32), "image_tokens": patches}
    with RowWriter(right, len(numbers), right_columns(max(1, len(seeds)), len(kept)), attributes) as writer:

        def run(images: torch.Tensor, part: slice) -> None:
            orders = torch.from_numpy(importance_order(importance(part))).to(loaded.device)
            target = torch.from_numpy(classes[part]).to(loaded.device)
            with loaded.autocast():
                found = removal(images, target, orders, kept).cpu().numpy()
            writer.append(right_rows(found))

        over_images(loaded, pixels, batch_size, "removing tokens", run, numbers)
    return loaded.provenance()


def _checked(counts: Sequence[int] | None, patches: int) -> Sequence[int]:
    if counts is None:
        return removal_counts(patches)
    outside = [count for count in counts if not 1 <= count <= patches]
    if outside or not counts:
        raise InputError(f"removal curves: numbers of kept tokens {list(counts)}: give some of 1..{patches}")
    return counts
