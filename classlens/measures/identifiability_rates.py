"""How many tokens and images are identifiable at a model's last block, beside its accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.csvfile import write_table
from classlens.measures.identifiability import read_identifiability
from classlens.statistics.resampling import Resampling, mean_row


def identifiability_rates(measures: str, table: str, resampling: Resampling) -> None:
    """Rate a model's last block (docs/method.md).

    Args:
        measures: the model's file of identifiability.
        table: the table to write, one row: images; identifiable_tokens_percent, % of an image's image tokens with rank
            0, averaged over images; images_with_identifiable_percent, % of images with at least one; accuracy, a
            fraction. Each with _ci_low, _ci_high (bootstrap over images).
    """
    measured = read_identifiability(measures)
    tokens = measured.identifiable[:, -1]
    quantities = {
        "identifiable_tokens_percent": 100 * tokens.astype(np.float64),
        "images_with_identifiable_percent": 100 * (tokens > 0),
        "accuracy": measured.correct,
    }
    write_table(pd.DataFrame([{"images": len(tokens), **mean_row(quantities, resampling)}]), table)
