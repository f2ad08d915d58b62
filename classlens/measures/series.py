"""A model over its training: what is measured at every checkpoint, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.columns import MODEL
from classlens.csvfile import read_table, write_table
from classlens.measures.identifiability import read_identifiability
from classlens.statistics.resampling import Resampling, mean_columns


def series_identifiability(
    measures: Sequence[str], table: str, accuracy: str, resampling: Resampling, points: Sequence[int], at: str
) -> None:
    """Average identifiability over images at every checkpoint.

    Args:
        measures: the points' files of identifiability, in the order of training.
        table: the table to write, a row per point, group of tokens (`cls`, `image`) and block (from 0). Columns: at
            (what points count), point, group, block, images, mean, ci_low, ci_high (bootstrap over images).
        accuracy: the table to write of the points' accuracy. Columns: at, point, images, accuracy (a fraction), ci_low,
            ci_high.
        points: their numbers.
    """
    rows, rates = [], []
    for point, path in zip(points, measures, strict=True):
        found = read_identifiability(path)
        for group, means in found.means.items():
            columns = {"at": at, "point": point, "group": group, "block": np.arange(means.shape[1])}
            rows.append(pd.DataFrame({**columns, "images": len(means), **mean_columns(means, resampling)}))
        columns = {"at": at, "point": point, "images": len(found.correct)}
        rates.append(pd.DataFrame(columns | mean_columns(found.correct[:, None], resampling, "accuracy")))
    write_table(pd.concat(rows, ignore_index=True), table)
    write_table(pd.concat(rates, ignore_index=True), accuracy)


def series_heads(causes: Sequence[str], table: str, points: Sequence[int], at: str) -> None:
    """Put what heads write, and the effect of their ablation, side by side over training.

    Args:
        causes: the points' tables of `classlens.measures.head_causes`, in the order of training.
        table: the table to write, a row per point, block and head (from 0). Columns: at, point, block, head, images;
            direct and effect with their intervals, as in `head_causes`; begins: the first point from which on the
            interval of the effect is above 0 at every later one, too; empty where there is none.
        points: their numbers.
    """
    parts = []
    for point, path in zip(points, causes, strict=True):
        found = read_table(path)
        own = found[found["of"] == MODEL].sort_values(["block", "head"], ignore_index=True)
        measured = [f"{name}{end}" for name in ("direct", "effect") for end in ("", "_ci_low", "_ci_high")]
        parts.append(own[["block", "head", "images", *measured]].assign(at=at, point=point))
    matters = np.stack([part["effect_ci_low"] > 0 for part in parts])
    stays = np.logical_and.accumulate(matters[::-1])[::-1]
    begins = np.where(stays.any(0), np.asarray(points)[stays.argmax(0)], np.nan)
    heads = pd.concat([part.assign(begins=begins) for part in parts], ignore_index=True).astype({"begins": "Int64"})
    write_table(heads[["at", "point", *heads.columns.drop(["at", "point"])]], table)


def series_words(words: Sequence[str], table: str, points: Sequence[int], at: str) -> None:
    """Put the first words of heads side by side over training.

    Args:
        words: the points' tables of `classlens.measures.head_words.name_heads`, in the order of training.
        table: the table to write, a row per point, block and head (from 0). Columns: at, point, block, head, word (the
            class that explains most of the head's variance), share, name (the word, where it is beyond random ones).
        points: their numbers.
    """
    parts = [read_table(path).assign(at=at, point=point) for point, path in zip(points, words, strict=True)]
    first = pd.concat([part[part["place"] == 1] for part in parts], ignore_index=True)
    write_table(first[["at", "point", "block", "head", "word", "share", "name"]], table)
