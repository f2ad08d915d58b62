"""Mean contributions to the correct class's output logit: of blocks' branches, of heads, and of what is in no block."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.hdf5 import CHUNK_ROWS, iterate_rows
from classlens.statistics.resampling import Resampling, mean_columns

WHOLE = ("embedding", "constant", "logit")
"""Parts that belong to no block."""


def logit_attribution(attribution: str, table: str, resampling: Resampling) -> None:
    """Average the contributions of `classlens.attribution.decompose` over images.

    Args:
        attribution: the model's attribution file.
        table: the table to write. Columns: part, block and head (from 0, empty where a part has none), images, mean (in
            units of the logit), ci_low, ci_high (bootstrap over images). The parts:

            - `attn`, `mlp`: what a branch of a block writes; attention with its biases.
            - `embedding`, `constant`: what is in no block. These four add up to `logit`, the output.
            - `head`: what a head writes, over all tokens that it reads.
    """
    rows, values = _contributions(attribution)
    names = pd.DataFrame(rows, columns=["part", "block", "head"]).astype({"block": "Int64", "head": "Int64"})
    write_table(names.assign(images=len(values), **mean_columns(values, resampling)), table)


def _contributions(attribution: str) -> tuple[list[tuple[str, int | None, int | None]], Array]:
    """Return what the rows of the table are about, and their values (N, rows) float64."""
    names = ("heads", "attention_bias", "mlp", *WHOLE)
    batches = []
    # The heads of many images and tokens are large, so a chunk at a time.
    for batch in iterate_rows(attribution, names, CHUNK_ROWS):
        exact = {name: found.astype(np.float64) for name, found in batch.items()}
        heads = exact["heads"].sum(-1)
        whole = np.stack([exact[name] for name in WHOLE], axis=1)
        parts = [heads.sum(-1) + exact["attention_bias"], exact["mlp"], whole, heads.reshape(len(heads), -1)]
        batches.append(np.concatenate(parts, axis=1))
    with h5py.File(attribution) as file:
        _, blocks, heads_of_block, _ = file["heads"].shape
    rows: list[tuple[str, int | None, int | None]] = [
        *((branch, block, None) for branch in ("attn", "mlp") for block in range(blocks)),
        *((part, None, None) for part in WHOLE),
        *(("head", block, head) for block in range(blocks) for head in range(heads_of_block)),
    ]
    return rows, np.concatenate(batches)
