"""Composition of memories: how often a branch's class is the class of one of the memories it calls up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.measures.statistics import bootstrap_interval
from classlens.memories.rates import Files, all_files, image_rates
from classlens.tables.files import write_table


def memory_composition(memories: Files, path: str, resamples: int, confidence: float, seed: int) -> None:
    """Rate the composition of memories in every branch and block (SPEC: section 3).

    Args:
        memories: the model's memory files by branch, in block order.
        path: the table to write, a row per branch and block (from 0). Columns: branch, block, images, percent (% of
            an image's tokens, prefix tokens too, averaged over images), ci_low, ci_high (bootstrap over images).
    """
    rows = all_files(memories)
    percent = 100 * np.stack([image_rates(file, "composition") for *_, file in rows], axis=1)
    low, high = bootstrap_interval(percent, resamples, confidence, seed)
    columns = {
        "branch": [branch for branch, *_ in rows],
        "block": [block for _, block, _ in rows],
        "images": len(percent),
        "percent": percent.mean(0),
        "ci_low": low,
        "ci_high": high,
    }
    write_table(pd.DataFrame(columns), path)
