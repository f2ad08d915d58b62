"""How good explanations of one model are: removal of tokens and of pixels, segmentation, randomisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from classlens.arrays import Array
from classlens.csvfile import read_table, write_table
from classlens.h5 import h5py
from classlens.measures.faithfulness_auc import area
from classlens.measures.removal_steps import DIRECTIONS, pixel_area
from classlens.statistics.resampling import Resampling, bootstrap_interval

Row = tuple[Any, ...]
COLUMNS = ["method", "measure", "part", "blocks_reset", "images", "value", "ci_low", "ci_high"]


def explanation_quality(
    tokens: Sequence[str],
    pixels: Sequence[str],
    segmentation: Sequence[str],
    explanations: Sequence[str],
    randomised: Sequence[str],
    table: str,
    *,
    methods: Sequence[str],
    randomised_methods: Sequence[str],
    resampling: Resampling,
) -> None:
    """Write all measures of quality in one table.

    Args:
        tokens: files of `classlens.passes.removal_curves`, correct per image, of each method.
        pixels: those of `classlens.passes.pixel_removal`.
        segmentation: the table of `classlens.measures.segmentation_scores`, or nothing where there are no masks.
        explanations: explanation files of `randomised_methods`.
        randomised: files of `classlens.passes.randomisation` of the same methods.
        table: the table to write. Columns: method, measure, part, blocks_reset, images, value, ci_low, ci_high
            (bootstrap over images). Measures and parts: `tokens` (area under removal curves, a fraction) and `pixels`
            (as published, in % x share of pixels): `negative`, `positive`, `gap` (their difference) and `behind_best`
            (gap of the method with the largest gap minus this one's, paired by image); `segmentation`: the scores;
            `randomisation` (Spearman's rank correlation with the map of the intact model): `cascade`, with the number
            of reset blocks, and `control`.
        methods: the explanation of each of the files.
        randomised_methods: those of `explanations` and `randomised`.
        resampling: see `bootstrap_interval`.
    """
    rows: list[Row] = []
    for measure, sources in (("tokens", tokens), ("pixels", pixels)):
        rows += _removal(measure, methods, sources, resampling)
    for source in segmentation:
        rows += [
            (one.method, "segmentation", one.score, None, one.images, one.mean, one.ci_low, one.ci_high)
            for one in read_table(source).itertuples()
        ]
    for method, explanation, source in zip(randomised_methods, explanations, randomised, strict=True):
        rows += _randomisation(method, explanation, source, resampling)
    write_table(pd.DataFrame(rows, columns=COLUMNS).astype({"blocks_reset": "Int64"}), table)


def _removal(measure: str, methods: Sequence[str], sources: Sequence[str], resampling: Resampling) -> Iterator[Row]:
    """Yield areas of each method, their gap, and how far it is behind the largest gap."""
    found = dict(zip(methods, map(_areas, sources), strict=True))
    gaps = {method: of_method["negative"] - of_method["positive"] for method, of_method in found.items()}
    best = max(gaps, key=lambda method: gaps[method].mean())
    for method, of_method in found.items():
        parts = {**of_method, "gap": gaps[method], "behind_best": gaps[best] - gaps[method]}
        for part, values in parts.items():
            yield (method, measure, part, None, *_mean(values, resampling))


def _areas(source: str) -> dict[str, Array]:
    """Return each image's area under the curves of a file, whose steps are of tokens or of pixels."""
    with h5py.File(source) as file:
        curves = {direction: file[direction][:].astype(np.float64) for direction in DIRECTIONS}
        removed = file.attrs.get("n_removed")
    return {name: pixel_area(curve) if removed is None else area(removed, curve) for name, curve in curves.items()}


def _randomisation(method: str, explanation: str, source: str, resampling: Resampling) -> Iterator[Row]:
    with h5py.File(source) as file, h5py.File(explanation) as intact:
        maps = intact["importance"][file["images"][:].tolist()]
        cascade, control, blocks = file["cascade"][:], file["control"][:], file["blocks"][:].tolist()
    for step, reset in enumerate(blocks):
        correlations = rank_correlation(maps, cascade[:, step])
        yield (method, "randomisation", "cascade", reset, *_mean(correlations, resampling))
    yield (method, "randomisation", "control", None, *_mean(rank_correlation(maps, control), resampling))


def rank_correlation(first: Array, second: Array) -> Array:
    """Return Spearman's rank correlation of each row (n, P) with its counterpart; NaN where all of a row is equal."""
    ranks = [rankdata(values, axis=1) for values in (first, second)]
    centred = [values - values.mean(1, keepdims=True) for values in ranks]
    lengths = np.prod([np.linalg.norm(values, axis=1) for values in centred], axis=0)
    products = (centred[0] * centred[1]).sum(1)
    return np.asarray(np.divide(products, lengths, out=np.full(len(first), np.nan), where=lengths > 0))


def _mean(values: Array, resampling: Resampling) -> tuple[int, float, float, float]:
    """Return the number of images, their mean and its interval, without images that have no value."""
    counted = values[np.isfinite(values)]
    low, high = bootstrap_interval(counted[:, None], resampling)
    return len(counted), float(counted.mean()) if len(counted) else float("nan"), float(low[0]), float(high[0])
