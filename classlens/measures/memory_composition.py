"""Composition of memories: how often a branch's class is the class of one of the memories it calls up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.csvfile import write_table
from classlens.measures.memory_rates import all_files, image_rates
from classlens.statistics.resampling import Resampling, bootstrap_interval


def memory_composition(attn: Sequence[str], mlp: Sequence[str], table: str, resampling: Resampling) -> None:
    """Rate the composition of memories in every branch and block (docs/method.md).

    Args:
        attn, mlp: the model's memory files of either branch, in block order.
        table: the table to write, a row per branch and block (from 0). Columns: branch, block, images, percent (% of
            an image's tokens, prefix tokens too, averaged over images), ci_low, ci_high (bootstrap over images).
    """
    rows = all_files(attn, mlp)
    percent = 100 * np.stack([image_rates(file, "composition") for *_, file in rows], axis=1)
    low, high = bootstrap_interval(percent, resampling)
    columns = {
        "branch": [branch for branch, *_ in rows],
        "block": [block for _, block, _ in rows],
        "images": len(percent),
        "percent": percent.mean(0),
        "ci_low": low,
        "ci_high": high,
    }
    write_table(pd.DataFrame(columns), table)
