"""Identifiability block by block, beside the model's random twin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.errors import InputError
from classlens.measures.boxes import box_statistics
from classlens.measures.identifiability import read_identifiability
from classlens.statistics.resampling import Resampling, mean_columns, sign_flip_test
from classlens.statistics.twins import beside_twin


def identifiability_evolution(measures: str, twin: Sequence[str], table: str, resampling: Resampling) -> None:
    """Summarise a model's identifiability per block and compare it with its random twin's.

    Model and twin see the same images, so the comparison is paired: the mean over images of (model - twin), each image
    counting with the mean over its tokens; a one-sided sign-flip test asks whether it is above zero, a bootstrap over
    images gives its interval.

    Args:
        measures: the model's file of identifiability.
        twin: the same of its random twin, as a list of one; an empty list where there is no twin.
        table: the table to write, a row per group of tokens (`cls`, `image`) and block (from 0). Columns: group, block,
            images; mean (of the images' means) with ci_low, ci_high; whisker_low, q1, median, q3, whisker_high (over
            tokens); twin_mean, difference, difference_ci_low, difference_ci_high, p_value (empty without a twin).
    """
    model = read_identifiability(measures)
    other = read_identifiability(twin[0]) if twin else None
    if other is not None and other.means.keys() != model.means.keys():
        raise InputError(
            "a model with [CLS] cannot be compared with a random twin without, nor the other way round: "
            "give both the same architecture"
        )

    def exceeds(difference: Array) -> Array:
        return sign_flip_test(difference, "greater", resampling)

    parts = []
    for group, means in model.means.items():
        columns = {
            "group": group,
            "block": np.arange(means.shape[1]),
            "images": len(means),
            **mean_columns(means, resampling),
            **box_statistics(model.histograms[group]),
            **beside_twin(means, other.means[group] if other else None, resampling, exceeds, "images"),
        }
        parts.append(pd.DataFrame(columns))
    write_table(pd.concat(parts, ignore_index=True), table)
