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
from classlens.statistics.resampling import Resampling, bootstrap_interval, sign_flip_test

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
            columns = {"of": of, "set": name, "block": np.arange(values.shape[1])}
            columns |= {"images": np.isfinite(values).sum(0)}
            columns |= _with_interval("effect", values, resampling) | _with_interval("accuracy", right, resampling)
            reference = REFERENCES.get(name, "")
            difference = values - effect[reference] if reference else np.full_like(values, np.nan)
            columns |= {"reference": reference, **_with_interval("difference", difference, resampling)}
            columns |= {"p_value": by_presence(difference, lambda one: _p_values(one, resampling))[0]}
            rows.append(pd.DataFrame(columns))
    write_table(with_correction(pd.concat(rows, ignore_index=True), correction, resampling.confidence), table)


def _read(path: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return effect and correct (N, B) float64 by set; random sets are averaged within each image."""
    with h5py.File(path, "r") as file:
        names = [str(name) for name in file.attrs["sets"]]
        effect, correct = file["effect"][:].astype(np.float64), file["correct"][:].astype(np.float64)
        if file.attrs.get("num_classes") == 1:  # a score is never right
            correct[:] = np.nan
    found = []
    for values in (effect, correct):
        by_set = {
            name: values[..., [one.partition("_")[0] == "random" for one in names]].mean(-1) for name in ["random"]
        }
        by_set |= {name: values[..., names.index(name)] for name in TOKEN_SETS if name in names}
        found.append({name: by_set[name] for name in TOKEN_SETS if name in by_set})
    return found[0], found[1]


def _with_interval(name: str, values: Array, resampling: Resampling) -> dict[str, Array]:
    def of(present: Array) -> tuple[Array, ...]:
        mean = present.mean(0) if len(present) else np.full(present.shape[1], np.nan)
        return (mean, *bootstrap_interval(present, resampling))

    mean, low, high = by_presence(values, of)
    return {name: mean, f"{name}_ci_low": low, f"{name}_ci_high": high}


def _p_values(present: Array, resampling: Resampling) -> tuple[Array]:
    return (sign_flip_test(present, "two-sided", resampling),)


def by_presence(values: Array, of: Callable[[Array], tuple[Array, ...]]) -> tuple[Array, ...]:
    """Compute something of each column's numbers, at once for columns in which the same images have one.

    Args:
        values: (N, B); NaN where an image has none.
        of: takes (n, K) without NaN, returns arrays (K).

    Returns:
        arrays (B).
    """
    present, place = np.unique(~np.isnan(values), axis=1, return_inverse=True)
    parts = [(place == index, of(values[present[:, index]][:, place == index])) for index in range(present.shape[1])]
    results = tuple(np.empty(values.shape[1]) for _ in parts[0][1])
    for columns, found in parts:
        for result, one in zip(results, found, strict=True):
            result[columns] = one
    return results
