"""Removal curves of all images from what each image says. Imports no torch: shards are joined where no GPU is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.hdf5 import Column, RowWriter, iterate_rows
from classlens.joining import common_layout
from classlens.measures.removal_steps import DIRECTIONS, PIXEL_PERCENT, SCORE_CHANGES, pixel_area
from classlens.progress import Progress


def join_removal_curves(shards: Sequence[str], curves: str, correct_per_image: str) -> None:
    """Write the removal curves of all images, and per image what they are means of.

    Args:
        shards: files of rows of `classlens.passes.token_removal`, in the order of their images.
        curves: the table to write. Columns: direction (negative keeps the most important tokens, positive the least
            important), n_removed (0..P-1), accuracy (a fraction); for random orders accuracy is the mean over seeds,
            and accuracy_low and accuracy_high are the extremes.
        correct_per_image: the HDF5 file to write: `negative`, `positive` (N, steps) float32, the share of orders
            under which the model is right; attributes `n_removed` (steps) and `image_tokens` (P).

    Raises:
        ValueError: the shards differ in orders, steps or attributes.
    """
    accuracy, attributes, is_random = _join(shards, correct_per_image)
    removed = attributes["n_removed"].tolist()
    write_table(_table(accuracy, {"n_removed": removed}, with_extremes=is_random), curves)


def join_pixel_curves(shards: Sequence[str], curves: str, correct_per_image: str) -> None:
    """Write the curves of removal on pixels over all images, and per image what they are means of.

    Args:
        shards: files of rows of `classlens.passes.pixel_removal`, in the order of their images.
        curves: the table to write. Columns: direction (negative paints the least important pixels, positive the most
            important), percent_removed (0, 10, ..., 90), accuracy (a fraction), auc (by the trapezoid rule over the
            removed share, 0 to 0.9, times 100) and auc_ratio (to the unperturbed accuracy), both of the whole curve;
            for random importance accuracy is the mean over seeds, and accuracy_low and accuracy_high are the extremes.
        correct_per_image: the HDF5 file to write: `negative`, `positive` (N, steps) float32, the share of orders
            under which the model is right; attribute `percent_removed` (steps).

    Raises:
        ValueError: the shards differ in orders or attributes.
    """
    accuracy, _, is_random = _join(shards, correct_per_image)
    table = _table(accuracy, {"percent_removed": PIXEL_PERCENT}, with_extremes=is_random)
    of_rows = [_areas(of_seeds.mean(0)) for of_seeds in accuracy for _ in PIXEL_PERCENT]
    write_table(table.assign(auc=[auc for auc, _ in of_rows], auc_ratio=[ratio for _, ratio in of_rows]), curves)


def _join(shards: Sequence[str], correct_per_image: str) -> tuple[Array, dict[str, Any], bool]:
    """Write the share of orders under which the model is right, (N, steps) float32 by direction.

    Returns:
        the accuracy (2 directions, S, steps) over all images; the attributes of the shards, which the file gets; and
        whether the orders are random.
    """
    columns, attributes, rows = common_layout(shards)
    is_random = bool(attributes.pop("random_orders"))
    (orders, steps), scores = columns[DIRECTIONS[0]].shape, columns[DIRECTIONS[0]].dtype != np.bool_
    sums = np.zeros((len(DIRECTIONS), orders, steps), np.float64 if scores else np.int64)
    with (
        Progress(rows, "removal curves") as progress,
        RowWriter(correct_per_image, rows, share_columns(steps, scores=scores), attributes) as writer,
    ):
        for part in (part for shard in shards for part in iterate_rows(shard, DIRECTIONS)):
            right = np.stack([part[direction] for direction in DIRECTIONS])
            sums += right.sum(1)
            writer.append(dict(zip(DIRECTIONS, right.mean(2, dtype=np.float32), strict=True)))
            progress.advance(right.shape[1])
    return sums / rows, attributes, is_random


def share_columns(steps: int, *, scores: bool = False) -> dict[str, Column]:
    """Return the data sets of a file with the share of orders, per image, or with mean changes of a score."""
    text = f"{SCORE_CHANGES}, mean over orders" if scores else "share of orders under which the model is right"
    return dict.fromkeys(DIRECTIONS, Column((steps,), np.float32, f"{text}, by step", "" if scores else "fraction"))


def _areas(accuracy: Array) -> tuple[float, float]:
    """Return the area under a curve (steps) of removal on pixels, and its ratio to the unperturbed accuracy."""
    area = float(pixel_area(accuracy))
    return area, area / accuracy[0] if accuracy[0] > 0 else float("nan")


def _table(accuracy: Array, removed: dict[str, Sequence[int]], *, with_extremes: bool) -> pd.DataFrame:
    """Return the curves of accuracies (2, S, steps); `removed` is a column (steps) by name."""
    parts = []
    for direction, of_seeds in zip(DIRECTIONS, accuracy, strict=True):
        part = pd.DataFrame({"direction": direction, **removed, "accuracy": of_seeds.mean(0)})
        if with_extremes:
            part = part.assign(accuracy_low=of_seeds.min(0), accuracy_high=of_seeds.max(0))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
