"""Which heads write what goes with an attribute that says nothing of the class, and from which tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.columns import MODEL, TWIN
from classlens.csvfile import read_table, read_texts, write_table
from classlens.h5 import h5py
from classlens.statistics.correction import with_correction
from classlens.statistics.groups import associate, groups_of
from classlens.statistics.resampling import Resampling


def shortcut_heads(
    evidence: str,
    twin: Sequence[str],
    output: str,
    groups: str,
    words: Sequence[str],
    table: str,
    attribute: str,
    resampling: Resampling,
    correction: str,
) -> None:
    """Measure how far what each head writes goes with an attribute, for a model and its random twin.

    Args:
        evidence: see `classlens.passes.head_evidence`.
        twin: the same of the random twin, as a list of one; an empty list where there is no twin.
        output: output file, for the images' classes.
        groups: groups.csv.
        words: the words of the model's heads, as a list of one; an empty list where there are none.
        table: the table to write, a row per block and head (from 0), those of the model first. Columns: of (`model` or
            `twin`), block, head, images; share (eta squared within classes of what it writes into the predicted class's
            logit, see `statistics.groups.associate`) with ci_low, ci_high, p_value, p_corrected and significant (over
            the heads of the same model); direct (mean over images of what it writes); context and class_tokens (shares
            of |what it writes| that it reads from context and class tokens; empty without masks); word (the one that
            names it, empty for none).
        attribute: of groups.csv.
    """
    with h5py.File(output, "r") as file:
        classes = file["class_index"][:]
    of, _ = groups_of(classes, read_texts(groups)[attribute].to_numpy(str))
    tables = []
    for whose, path in zip((MODEL, TWIN), (evidence, *twin), strict=False):
        with h5py.File(path, "r") as file:
            direct, read = file["direct"][:].astype(np.float64), file["read"][:].astype(np.float64).sum(0)
        found = associate(direct.reshape(len(direct), -1), of, resampling)
        block, head = np.indices(direct.shape[1:]).reshape(2, -1)
        parts = read / np.where(read.sum(-1, keepdims=True) > 0, read.sum(-1, keepdims=True), np.nan)
        # Without masks all tokens are others.
        context, class_tokens, _ = parts.reshape(-1, 3).T if read[..., :2].any() else (np.nan,) * 3
        columns = {
            "of": whose,
            "block": block,
            "head": head,
            "images": len(direct),
            "share": found.share,
            "ci_low": found.low,
            "ci_high": found.high,
            "direct": direct.mean(0).ravel(),
            "context": context,
            "class_tokens": class_tokens,
            "p_value": found.p_value,
        }
        tables.append(with_correction(pd.DataFrame(columns), correction, resampling.confidence))
    named = read_table(words[0]) if words else pd.DataFrame(columns=["block", "head", "place", "name"])
    first = named[named["place"] == 1].assign(of=MODEL)
    by_head = first[["of", "block", "head", "name"]].rename(columns={"name": "word"})
    write_table(pd.concat(tables, ignore_index=True).merge(by_head, "left", ["of", "block", "head"]), table)
