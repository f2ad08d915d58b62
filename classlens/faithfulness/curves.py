"""Removal curves of an explanation: accuracy against the number of removed image tokens (SPEC section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from classlens.errors import InputError
from classlens.explanations.chance import random_importance
from classlens.faithfulness.removal import TokenRemoval
from classlens.faithfulness.steps import DIRECTIONS, importance_order, removal_counts
from classlens.hdf5 import Column, RowWriter
from classlens.perturbation.running import Network, load, over_images, read_classes
from classlens.tables.files import write_table

Array = npt.NDArray[Any]


def removal_curves(
    pixels: Path,
    weights: Path,
    explanation: Path | None,
    curves: Path,
    images_right: Path,
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
        explanation: its `importance` (N, P) orders the tokens; None: random orders.
        curves: the table to write. Columns: direction (negative keeps the most important tokens, positive the least
            important), n_removed (0..P-1), accuracy (a fraction); for random orders accuracy is the mean over seeds,
            and accuracy_low and accuracy_high are the extremes.
        images_right: the HDF5 file to write: `negative`, `positive` (N, steps) float32, the share of orders under which
            the model is right; attributes `n_removed` (steps) and `image_tokens` (P).
        batch_size: whole images per forward pass, at most; correspondingly more where tokens are removed.
        counts: numbers of image tokens to keep, 1..P; None: see `removal_counts`.
        seeds: of random orders, each image having its own; must be given when `explanation` is None, and only then.
        network: see `perturbation.running.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: the explanation does not fit the images or holds NaN, a count is out of range, or a label is no
            class of the model.
    """
    if (explanation is None) != bool(seeds):
        raise InputError("removal curves: give either an explanation or the seeds of random orders")
    loaded = load(weights, network)
    removal = TokenRemoval(loaded.model)
    patches = removal.tokens.patches
    # Falling, so that the numbers of removed tokens rise.
    kept = sorted(set(_checked(counts, patches)), reverse=True)
    removed = [patches - count for count in kept]
    classes = read_classes(pixels, loaded.model.num_classes)
    importance = None if explanation is None else _read_importance(explanation, (len(classes), patches))
    column = Column((len(kept),), np.float32, "share of orders under which the model is right, by step", "fraction")
    attributes = {"n_removed": np.asarray(removed, np.int32), "image_tokens": patches}
    sums = np.zeros((len(DIRECTIONS), max(1, len(seeds)), len(kept)), np.int64)
    with RowWriter(images_right, len(classes), dict.fromkeys(DIRECTIONS, column), attributes) as writer:

        def run(images: torch.Tensor, part: slice) -> None:
            if importance is not None:
                of_batch = importance[None, part]
            else:
                of_batch = np.stack([random_importance(seed, part.start, part.stop, patches) for seed in seeds])
            orders = torch.from_numpy(importance_order(of_batch)).to(loaded.device)
            target = torch.from_numpy(classes[part]).to(loaded.device)
            with loaded.autocast():
                right = removal(images, target, orders, kept).cpu().numpy()
            sums[...] += right.sum(2)
            means = right.mean(1, dtype=np.float32)
            writer.append(dict(zip(DIRECTIONS, means, strict=True)))

        over_images(loaded, pixels, batch_size, "removing tokens", run)
    write_table(_table(removed, sums / len(classes), with_extremes=bool(seeds)), str(curves))
    return loaded.provenance()


def _table(removed: Sequence[int], accuracy: Array, *, with_extremes: bool) -> pd.DataFrame:
    """Return the curves of accuracies (2, S, steps)."""
    parts = []
    for direction, of_seeds in zip(DIRECTIONS, accuracy, strict=True):
        part = pd.DataFrame({"direction": direction, "n_removed": list(removed), "accuracy": of_seeds.mean(0)})
        if with_extremes:
            part = part.assign(accuracy_low=of_seeds.min(0), accuracy_high=of_seeds.max(0))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _checked(counts: Sequence[int] | None, patches: int) -> Sequence[int]:
    if counts is None:
        return removal_counts(patches)
    outside = [count for count in counts if not 1 <= count <= patches]
    if outside or not counts:
        raise InputError(f"removal curves: numbers of kept tokens {list(counts)}: give some of 1..{patches}")
    return counts


def _read_importance(explanation: Path, shape: tuple[int, int]) -> Array:
    with h5py.File(explanation) as file:
        importance = np.asarray(file["importance"][:])
    if importance.shape != shape:
        raise InputError(
            f"{explanation}: importance {importance.shape} does not fit {shape[0]} images of {shape[1]} tokens; "
            f"make it from the same images and model"
        )
    if not np.isfinite(importance).all():
        raise InputError(f"{explanation}: importance is not finite, so it orders no tokens; make it anew")
    return importance
