"""Class-value and key-value agreement on the depth axis that models of any depth share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.csvfile import write_table
from classlens.measures.class_value_agreement import chance_levels
from classlens.measures.memory_parameters import read_class_values
from classlens.measures.memory_rates import class_rates, hit_chance, read_class_index
from classlens.statistics.depth import by_position
from classlens.statistics.resampling import Resampling
from classlens.terms import BRANCHES


def memory_comparison(
    parameters: str, attn: Sequence[str], mlp: Sequence[str], output: str, table: str, resampling: Resampling
) -> None:
    """Average both agreements at each position of the normalised depth axis.

    Args:
        parameters: the model's projected memories.
        attn, mlp: its memory files of either branch, in block order.
        output: its output file.
        table: the table to write, a row per measure (`class_value`, a cosine; `key_value`, %), branch and position.
            Columns: measure, branch, position, blocks (how many share it), mean (over classes), ci_low, ci_high
            (bootstrap over classes), chance.
    """
    values = read_class_values(parameters)
    class_index = read_class_index(output)
    parts = []
    for branch, files in zip(BRANCHES, (attn, mlp), strict=True):
        rates = 100 * class_rates(files, "agreement", class_index)
        chances = np.array([100 * hit_chance(file) for file in files])
        measured = {
            "class_value": (values.scores[branch].T, chance_levels(values.width, values.memories[branch])),
            "key_value": (rates, chances),
        }
        for measure, (of_classes, level) in measured.items():
            means, weights = by_position(of_classes, resampling)
            columns = {"measure": measure, "branch": branch, **means, "chance": level @ weights}
            parts.append(pd.DataFrame(columns))
    write_table(pd.concat(parts, ignore_index=True).sort_values("measure", kind="stable"), table)
