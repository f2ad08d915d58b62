"""Share of image tokens that a block brings closer to the correct class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.csvfile import write_table
from classlens.measures.layers import in_turn, read_layout, steps
from classlens.statistics.resampling import Resampling, mean_columns

LOGIT = "residual/logit"


def logit_increment(layers: Sequence[str], table: str, resampling: Resampling) -> None:
    """Measure the logit increment rate of every block but the first (docs/method.md).

    Args:
        layers: the model's layer files in block order.
        table: the table to write, a row per block from 1 on (blocks count from 0): block, images, rate_percent (% of
            image tokens whose logit rose from the residual of block - 1, averaged over images), ci_low, ci_high
            (bootstrap over images).
    """
    layout = read_layout(layers[0])
    blocks = range(1, len(layers))
    rates = np.empty((layout.images, len(blocks)))
    for block in in_turn(blocks, "logit increment"):
        rose = [here[LOGIT] > before[LOGIT] for before, here in steps(layers, block, [LOGIT], [LOGIT])]
        rates[:, block - 1] = np.concatenate(rose)[:, layout.image_tokens].mean(1)
    columns = {"block": blocks, "images": layout.images, **mean_columns(100 * rates, resampling, "rate_percent")}
    write_table(pd.DataFrame(columns), table)
