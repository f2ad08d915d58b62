"""What heads write into the correct class's logit, beside what becomes of it without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.columns import MODEL, TWIN
from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.statistics.agreement import spearman_of_means
from classlens.statistics.correction import with_correction
from classlens.statistics.resampling import Resampling, mean_columns, sign_flip_test


def head_causes(
    effects: str, twin: Sequence[str], table: str, agreement: str, resampling: Resampling, correction: str
) -> None:
    """Compare each head's direct contribution with the effect of its ablation, for a model and its random twin.

    Args:
        effects: see `classlens.ablation.heads`.
        twin: the same of the random twin, as a list of one; an empty list where there is no twin.
        table: the table to write, a row per block and head (from 0). Columns: of (`model` or `twin`), block, head,
            images; direct and effect (means over images, in units of the logit) with direct_ci_low, ... (bootstrap over
            images); difference (effect - direct) with difference_ci_low, difference_ci_high, p_value (two-sided
            sign-flip test), p_corrected and significant (over the table). What needs direct contributions is empty
            where the output is no sum of them.
        agreement: the table to write of Spearman's rank correlation over heads between the two means. Columns: of,
            images, heads, spearman, ci_low, ci_high (bootstrap over images).
    """
    rows, correlations = [], []
    for of, path in zip((MODEL, TWIN), (effects, *twin), strict=False):
        direct, effect = _read(path)
        images, (block, head) = len(effect), np.indices(effect.shape[1:]).reshape(2, -1)
        direct, effect = direct.reshape(images, -1), effect.reshape(images, -1)
        columns = {"of": of, "block": block, "head": head, "images": images}
        for name, values in {"direct": direct, "effect": effect, "difference": effect - direct}.items():
            columns |= mean_columns(_where_known(values), resampling, name, f"{name}_")
        p_values = sign_flip_test(_where_known(effect - direct), "two-sided", resampling)
        rows.append(pd.DataFrame({**columns, "p_value": p_values}))
        found = dict(zip(("spearman", "ci_low", "ci_high"), spearman_of_means(direct, effect, resampling), strict=True))
        correlations.append({"of": of, "images": images, "heads": len(head), **found})
    write_table(with_correction(pd.concat(rows, ignore_index=True), correction, resampling.confidence), table)
    write_table(pd.DataFrame(correlations), agreement)


def _where_known(values: Array) -> Array:
    """Return values (N, K), or none of them (0, K) where some are missing: then there is no interval and no test."""
    return values if np.isfinite(values).all() else values[:0]


def _read(path: str) -> tuple[Array, Array]:
    """Return direct and effect (N, B, H) float64."""
    with h5py.File(path, "r") as file:
        return file["direct"][:].astype(np.float64), file["effect"][:].astype(np.float64)
