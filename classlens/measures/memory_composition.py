"""Composition of memories: how often a branch's class is the class of one of the memories it calls up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classlens.csvfile import write_table
from classlens.measures.memory_rates import image_rates, rows_of
from classlens.statistics.resampling import Resampling, mean_columns


def memory_composition(attn: Sequence[str], mlp: Sequence[str], table: str, resampling: Resampling) -> None:
    """Rate the composition of memories in every branch and block (docs/method.md).

    Args:
        attn, mlp: the model's memory files of either branch, in block order.
        table: the table to write, a row per branch and block (from 0). Columns: branch, block, images, percent (% of
            an image's tokens, prefix tokens too, averaged over images), ci_low, ci_high (bootstrap over images).
    """
    rows, files = rows_of(attn, mlp)
    percent = 100 * np.stack([image_rates(file, "composition") for file in files], axis=1)
    write_table(rows.assign(images=len(percent), **mean_columns(percent, resampling, "percent")), table)
