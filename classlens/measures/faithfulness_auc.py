"""Areas under removal curves, with intervals from resampled images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.measures.removal_steps import DIRECTIONS
from classlens.statistics.resampling import Resampling, bootstrap_interval


def area(removed: Sequence[int], values: Array) -> Array:
    """Return the area under removal curves, by the trapezoid rule, in the unit of the values.

    The range of removed tokens is scaled to 0..1: 0 % is the whole image and 100 % as much as can be removed, all image
    tokens but one. The end where no image token is left is not measured, and nothing is assumed about it. So a
    curve that never falls has its own height as area.

    Args:
        removed: (steps), rising numbers of removed tokens.
        values: (..., steps), accuracies.
    """
    if len(removed) < 2:
        return np.asarray(values[..., 0])
    steps = np.asarray(removed, np.float64)
    return np.asarray(np.trapezoid(values, (steps - steps[0]) / (steps[-1] - steps[0]), axis=-1))


def area_as_published(removed: Sequence[int], accuracy: Array, tokens: int) -> float:
    """Return the sum over n = 1..P-1 kept tokens of accuracy, divided by (the largest of these times P).

    This is the number in the tables of Vilas et al. 2023 (arXiv 2310.18969). Numbers of tokens that were not tried are
    interpolated linearly.

    Args:
        removed: (steps), rising numbers of removed tokens.
        accuracy: (steps).
        tokens: P.

    Returns:
        NaN where the model is never right, or has a single image token.
    """
    measured = np.interp(np.arange(1, tokens), removed, accuracy)
    if not measured.size or not measured.max() > 0:
        return float("nan")
    return float(measured.sum() / (measured.max() * tokens))


def faithfulness_auc(
    correct_per_image: Sequence[str], table: str, *, methods: Sequence[str], resampling: Resampling
) -> None:
    """Write the areas under the removal curves of several explanations.

    A good explanation has a large area in the negative test and a small one in the positive test.

    Args:
        correct_per_image: files that `removal_curves` writes.
        table: the table to write. Columns: method, direction, images, unperturbed_accuracy, auc, ci_low, ci_high
            (bootstrap over images), auc_ratio (to the unperturbed accuracy; empty where that is zero), auc_published.
        methods: the explanation of each of the files.
        resampling: see `bootstrap_interval`.
    """
    rows = []
    for method, source in zip(methods, correct_per_image, strict=True):
        with h5py.File(source) as file:
            removed, tokens = file.attrs["n_removed"].tolist(), int(file.attrs["image_tokens"])
            right = {direction: file[direction][:].astype(np.float64) for direction in DIRECTIONS}
        for direction, of_images in right.items():
            low, high = bootstrap_interval(area(removed, of_images)[:, None], resampling)
            accuracy = of_images.mean(0)
            auc = float(area(removed, accuracy))
            whole = float(accuracy[0]) if removed[0] == 0 else float("nan")
            areas = {"auc": auc, "ci_low": low[0], "ci_high": high[0]}
            areas["auc_ratio"] = auc / whole if whole > 0 else float("nan")
            areas["auc_published"] = area_as_published(removed, accuracy, tokens)
            facts = {"method": method, "direction": direction, "images": len(of_images), "unperturbed_accuracy": whole}
            rows.append(facts | areas)
    write_table(pd.DataFrame(rows), table)
