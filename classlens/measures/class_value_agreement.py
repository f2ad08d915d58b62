"""Class-value agreement: how far some memory of a branch points in the direction of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.measures.boxes import boxes_of_rows
from classlens.measures.memory_chance import largest_cosine
from classlens.measures.memory_parameters import read_class_values
from classlens.statistics.resampling import Resampling, mean_columns
from classlens.statistics.twins import beside_twin
from classlens.terms import BRANCHES


def class_value_agreement(parameters: str, twin: Sequence[str], table: str, resampling: Resampling) -> None:
    """Summarise the class-value agreement of every branch and block beside the random twin's and chance.

    Args:
        parameters: the model's projected memories, see `classlens.measures.memory_parameters`.
        twin: the same of its random twin, as a list of one; an empty list where there is no twin.
        table: the table to write, a row per branch and block (from 0). Columns: branch, block, classes; mean (over
            classes) with ci_low, ci_high (bootstrap over classes); whisker_low, q1, median, q3, whisker_high (over
            classes); chance (expected largest cosine of as many random directions); twin_mean, difference,
            difference_ci_low, difference_ci_high, p_value of the one-sided Wilcoxon signed-rank test of a class's
            score against its score in the twin (empty without a twin; not corrected).

    Raises:
        InputError: the twin has other blocks or classes than the model.
    """
    model = read_class_values(parameters)
    other = read_class_values(twin[0]) if twin else None
    parts = []
    for branch in BRANCHES:
        scores = model.scores[branch]
        columns = {
            "branch": branch,
            "block": np.arange(len(scores)),
            "classes": scores.shape[1],
            **mean_columns(scores.T, resampling),
            **boxes_of_rows(scores),
            "chance": chance_levels(model.width, model.memories[branch]),
            **beside_twin(scores.T, other.scores[branch].T if other else None, resampling, _exceeds, "classes"),
        }
        parts.append(pd.DataFrame(columns))
    write_table(pd.concat(parts, ignore_index=True), table)


def chance_levels(width: int, memories: Sequence[int]) -> Array:
    """Return the chance level of each block, given D and each block's M."""
    by_count = {count: largest_cosine(width, count) for count in set(memories)}
    return np.array([by_count[count] for count in memories])


def _exceeds(difference: Array) -> Array:
    return np.asarray(wilcoxon(difference, alternative="greater", axis=0).pvalue)
