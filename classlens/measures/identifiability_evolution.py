"""Identifiability block by block, beside the model's random twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from classlens.errors import InputError
from classlens.measures.boxes import box_statistics
from classlens.measures.identifiability import read_identifiability
from classlens.measures.statistics import bootstrap_interval, sign_flip_test
from classlens.tables.files import write_table

Array = npt.NDArray[Any]


def identifiability_evolution(
    measured: str, twin: Sequence[str], path: str, resamples: int, confidence: float, seed: int
) -> None:
    """Summarise a model's identifiability per block and compare it with its random twin's.

    Model and twin see the same images, so the comparison is paired: the mean over images of (model - twin),
    each image counting with the mean over its tokens; a one-sided sign-flip test asks whether it is
    above zero, a bootstrap over images gives its interval.

    Args:
        measured: the model's file of identifiability.
        twin: the same of its random twin, as a list of one; an empty list where there is no twin.
        path: the table to write, a row per group of tokens (`cls`, `image`) and block (from 0).
            Columns: group, block, images; mean (of the images' means) with ci_low, ci_high;
            whisker_low, q1, median, q3, whisker_high (over tokens); twin_mean, difference,
            difference_ci_low, difference_ci_high, p_value (empty without a twin).
    """
    model = read_identifiability(measured)
    other = read_identifiability(twin[0]) if twin else None
    if other is not None and other.means.keys() != model.means.keys():
        raise InputError(
            "a model with [CLS] cannot be compared with a random twin without, nor the other way round: "
            "give both the same architecture"
        )
    parts = []
    for group, means in model.means.items():
        low, high = bootstrap_interval(means, resamples, confidence, seed)
        columns = {
            "group": group,
            "block": np.arange(means.shape[1]),
            "images": len(means),
            "mean": means.mean(0, dtype=np.float64),
            "ci_low": low,
            "ci_high": high,
            **box_statistics(model.histograms[group]),
        }
        twin_means = None if other is None else other.means[group]
        columns |= _comparison(means, twin_means, resamples, confidence, seed)
        parts.append(pd.DataFrame(columns))
    write_table(pd.concat(parts, ignore_index=True), path)


def _comparison(means: Array, twin: Array | None, resamples: int, confidence: float, seed: int) -> dict[str, Any]:
    if twin is None:
        names = ("twin_mean", "difference", "difference_ci_low", "difference_ci_high", "p_value")
        return dict.fromkeys(names, np.nan)
    if twin.shape != means.shape:
        raise InputError(
            f"a model of {means.shape[1]} blocks on {means.shape[0]} images cannot be compared "
            f"with a random twin of {twin.shape[1]} blocks on {twin.shape[0]} images: give both "
            "the same architecture and data set"
        )
    difference = means.astype(np.float64) - twin
    low, high = bootstrap_interval(difference, resamples, confidence, seed)
    return {
        "twin_mean": twin.mean(0, dtype=np.float64),
        "difference": difference.mean(0),
        "difference_ci_low": low,
        "difference_ci_high": high,
        "p_value": sign_flip_test(difference, "greater", resamples, seed),
    }
