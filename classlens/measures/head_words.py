"""The words that explain what heads write, and which of them say more than random directions would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from classlens.attribution.words import Span, table_of
from classlens.columns import MODEL, TWIN
from classlens.csvfile import read_table, write_table
from classlens.data.stimulus import class_names
from classlens.h5 import h5py
from classlens.models.head import read_head
from classlens.statistics.correction import with_correction


def name_heads(
    spans: str,
    stimuli: str,
    head: Sequence[str],
    vocabulary: Sequence[str],
    words: str,
    *,
    per_head: int,
    draws: int,
    seed: int,
    correction: str,
    confidence: float,
    texts: Mapping[str, Any] | None = None,
) -> None:
    """Write the words of a model's heads: its own classes, or those of a vocabulary (docs/method.md, heads in words).

    Args:
        spans: see `classlens.passes.head_words.write_spans`.
        stimuli: stimuli.csv of its data set, for the names of classes.
        head: the user's own head, whose class names count first, as a list of one; an empty list where there is none.
        vocabulary: see `classlens.sources.vocabulary.write_vocabulary`, as a list of one; an empty list: the classes.
        words: the table to write, a row per block, head and word: see `classlens.attribution.words.table_of`; in rows
            of place 1 also p_corrected (over the model's heads) and name, the word where that is below 1 - confidence.
        per_head: words of a head, at most.
        draws: of random dictionaries.
        seed: of these.
        correction: `holm` or `fdr_bh`.
        confidence: 1 - confidence is the level of significance.
        texts: texts that are the classes, and so the words; None: none.
    """
    with h5py.File(spans, "r") as file:
        axes, variance, trace, classes = (file[name][:] for name in ("axes", "variance", "trace", "classes"))
    if vocabulary:
        with h5py.File(vocabulary[0], "r") as file:
            rows, called = file["direction"][:], [word.decode() for word in file["word"][:]]
    else:
        rows, called = classes, _class_words(len(classes), stimuli, head, texts)
    found = [
        [
            Span(variance[place][variance[place] > 0], axes[place][:, variance[place] > 0].astype(np.float64), of_head)
            for place, of_head in (((block, number), float(trace[block, number])) for number in range(trace.shape[1]))
        ]
        for block in range(len(trace))
    ]
    table = table_of(found, rows, called, per_head, draws, seed)
    write_table(with_names(table, correction, confidence), words)


def _class_words(count: int, stimuli: str, head: Sequence[str], texts: Mapping[str, Any] | None) -> list[str]:
    own = texts["texts"] if texts else read_head(head[0]).class_names if head else None
    names = class_names(stimuli) | dict(enumerate(own or ()))
    return [names.get(index) or f"class {index}" for index in range(count)]


def with_names(table: pd.DataFrame, correction: str, confidence: float) -> pd.DataFrame:
    """Return a table of words with p_corrected, and name: the first word of heads where that is significant."""
    table = with_correction(table, correction, confidence)
    return table.assign(name=table["word"].where(table["significant"])).drop(columns="significant")


def head_words(words: str, twin: Sequence[str], table: str) -> None:
    """Put the words of a model's heads and those of its random twin into one table.

    Args:
        words: see `name_heads`.
        twin: the same of the random twin, as a list of one; an empty list where there is no twin.
        table: the table to write: of (`model` or `twin`), and the columns of `words`.
    """
    tables = [read_table(path).assign(of=of) for of, path in zip((MODEL, TWIN), (words, *twin), strict=False)]
    found = pd.concat(tables, ignore_index=True)
    write_table(found[["of", *found.columns.drop("of")]], table)
