"""Class-value and key-value agreement on the depth axis that models of any depth share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from classlens.measures.identifiability_comparison import depth_positions
from classlens.measures.statistics import bootstrap_interval
from classlens.memories.class_value import chance_levels
from classlens.memories.parameters import BRANCHES, read_class_values
from classlens.memories.rates import Files, class_rates, hit_chance, read_class_index
from classlens.tables.files import write_table

Array = npt.NDArray[Any]


def memory_comparison(
    parameters: str, memories: Files, output: str, path: str, resamples: int, confidence: float, seed: int
) -> None:
    """Average both agreements at each position of the normalised depth axis.

    Args:
        parameters: the model's projected memories.
        memories: its memory files by branch, in block order.
        output: its output file.
        path: the table to write, a row per measure (`class_value`, a cosine; `key_value`, %), branch and position.
            Columns: measure, branch, position, blocks (how many share it), mean (over classes), ci_low, ci_high
            (bootstrap over classes), chance.
    """
    values = read_class_values(parameters)
    class_index = read_class_index(output)
    parts = []
    for branch in BRANCHES:
        files = memories[branch]
        chance = chance_levels(values.width, values.memories[branch])
        rates = 100 * class_rates(files, "agreement", class_index)
        chances = np.array([100 * hit_chance(file) for file in files])
        for measure, of_classes, level in (
            ("class_value", values.scores[branch].T, chance),
            ("key_value", rates, chances),
        ):
            table = _by_position(of_classes, level, resamples, confidence, seed)
            parts.append(pd.DataFrame({"measure": measure, "branch": branch, **table}))
    write_table(pd.concat(parts, ignore_index=True).sort_values("measure", kind="stable"), path)


def _by_position(values: Array, chance: Array, resamples: int, confidence: float, seed: int) -> dict[str, Array]:
    """Average blocks (classes, B) that share a position, within each class: classes stay the unit of resampling."""
    positions, inverse = np.unique(depth_positions(values.shape[1]), return_inverse=True)
    shared = np.bincount(inverse)
    weights = np.eye(len(positions))[inverse] / shared
    averages = values @ weights
    low, high = bootstrap_interval(averages, resamples, confidence, seed)
    return {
        "position": positions,
        "blocks": shared,
        "mean": averages.mean(0),
        "ci_low": low,
        "ci_high": high,
        "chance": chance @ weights,
    }
