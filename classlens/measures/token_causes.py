"""Do identifiable tokens matter? Mean effects of replacing sets of image tokens, by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.columns import MODEL, TOKEN_SETS, TWIN
from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.statistics.correction import with_correction
from classlens.statistics.resampling import Resampling, mean_columns, sign_flip_test

REFERENCES = {
    "most_identifiable": "random",
    "least_identifiable": "random",
    "class": "context",
    "outliers": "not_outliers",
}
"""What a set's effect is compared with on the same images."""


def token_causes(effects: str, twin: Sequence[str], table: str, resampling: Resampling, correction: str) -> None:
    """Average the effects of replacing tokens after each block, for a model and its random twin.

    Args:
        effects: see `classlens.ablation.tokens`.
        twin: the same of the random twin, as a list of one; an empty list where there is no twin.
        table: the table to write, a row per set and block (from 0). Columns: of (`model` or `twin`), set, block, images
            (that have such tokens); effect (mean over images, in units of the logit; of random sets that of their mean)
            with effect_ci_low, effect_ci_high (bootstrap over images); accuracy (a fraction, of the same images) with
            accuracy_ci_low, accuracy_ci_high; reference: the set that it is compared with on images that have both, by
            difference, difference_ci_low, difference_ci_high, p_value (two-sided sign-flip test), p_corrected and
            significant (over the table).
    """
    rows = []
    for of, path in zip((MODEL, TWIN), (effects, *twin), strict=False):
        effect, correct = _read(path)
        for name, values in effect.items():
            # Accuracy is that of images that have such tokens.
            right = np.where(np.isnan(values), np.nan, correct[name])
            reference = REFERENCES.get(name, "")
            difference = values - effect[reference] if reference else np.full_like(values, np.nan)
            columns = {
                "of": of,
                "set": name,
                "block": np.arange(values.shape[1]),
                "images": np.isfinite(values).sum(0),
                **by_presence(values, lambda some: mean_columns(some, resampling, "effect", "effect_")),
                **by_presence(right, lambda some: mean_columns(some, resampling, "accuracy", "accuracy_")),
                "reference": reference,
                **by_presence(difference, lambda some: _tested(some, resampling)),
            }
            rows.append(pd.DataFrame(columns))
    write_table(with_correction(pd.concat(rows, ignore_index=True), correction, resampling.confidence), table)


def _read(path: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return effect and correct (N, B) float64 by set; random sets are averaged within each image."""
    with h5py.File(path, "r") as file:
        names = [str(name) for name in file.attrs["sets"]]
        effect, correct = file["effect"][:].astype(np.float64), file["correct"][:].astype(np.float64)
        if file.attrs.get("num_classes") == 1:  # a score is never right
            correct[:] = np.nan
    kinds = np.array([name if name in TOKEN_SETS else "random" for name in names])
    places = {name: kinds == name for name in TOKEN_SETS if name in kinds}
    by_set = [{name: values[..., own].mean(-1) for name, own in places.items()} for values in (effect, correct)]
    return by_set[0], by_set[1]


def _tested(differences: Array, resampling: Resampling) -> dict[str, Array]:
    columns = mean_columns(differences, resampling, "difference", "difference_")
    return {**columns, "p_value": sign_flip_test(differences, "two-sided", resampling)}


def by_presence(values: Array, of: Callable[[Array], dict[str, Array]]) -> dict[str, Array]:
    """Compute something of each column's numbers, at once for columns in which the same images have one.

    Args:
        values: (N, B); NaN where an image has none.
        of: takes (n, K) without NaN, returns arrays (K) by name.

    Returns:
        arrays (B) by name.
    """
    present, place = np.unique(~np.isnan(values), axis=1, return_inverse=True)
    results: dict[str, Array] = {}
    for index in range(present.shape[1]):
        for name, found in of(values[present[:, index]][:, place == index]).items():
            results.setdefault(name, np.empty(values.shape[1]))[place == index] = found
    return results
