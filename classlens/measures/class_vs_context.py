"""Identifiability of tokens that show the class, beside those that show its context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classlens.arrays import Array
from classlens.columns import BOX_COLUMNS, LABELS
from classlens.csvfile import write_table
from classlens.hdf5 import iterate_rows
from classlens.measures.boxes import box_statistics, count_ranks
from classlens.measures.labels import compare_groups, with_labels
from classlens.measures.layers import Layout, in_turn, read_layout, token_mean
from classlens.statistics.correction import with_correction
from classlens.statistics.resampling import Resampling


def class_vs_context(layers: Sequence[str], labels: str, table: str, resampling: Resampling, correction: str) -> None:
    """Compare the identifiability of class and context tokens in every block (docs/method.md).

    Only images with tokens of both kinds take part. Each counts with the mean over its class tokens minus the mean over
    its context tokens; a two-sided sign-flip test over images asks whether these differ from zero, corrected over all
    blocks of the model.

    Args:
        layers: the model's layer files in block order.
        labels: its token labels.
        table: the table to write, a row per block (from 0). Columns: block, images; for each of `context` and `class`
            {name}_mean (of the images' means) and {name}_whisker_low, _q1, _median, _q3, _whisker_high (over tokens);
            difference (class - context), ci_low, ci_high, p_value, p_corrected, significant.
    """
    layout = read_layout(layers[0])
    blocks = [_one_block(layer, labels, layout) for layer in in_turn(layers, "class and context tokens")]
    per_image = {name: np.stack([means[name] for means, _ in blocks], axis=1) for name in LABELS}
    compared = compare_groups(per_image, resampling).assign(block=np.arange(len(layers)))
    for name in LABELS:
        boxes = box_statistics(np.stack([counts[name] for _, counts in blocks]))
        compared = compared.assign(**{f"{name}_{part}": boxes[part] for part in BOX_COLUMNS})
    groups = [f"{name}_{part}" for name in LABELS for part in ("mean", *BOX_COLUMNS)]
    test = ["difference", "ci_low", "ci_high", "p_value", "p_corrected", "significant"]
    corrected = with_correction(compared, correction, resampling.confidence)
    write_table(corrected[["block", "images", *groups, *test]], table)


def _one_block(layer: str, labels: str, layout: Layout) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return by label the mean identifiability of each image (n) and the counts of ranks (C)."""
    means: dict[str, list[Array]] = {name: [] for name in LABELS}
    counts = {name: np.zeros(layout.num_classes, np.int64) for name in LABELS}
    for batch, chosen, label in with_labels(iterate_rows(layer, ["residual/rank"]), labels):
        ranks = batch["residual/rank"][:, layout.image_tokens][chosen]
        for name, value in LABELS.items():
            of_group = label == value
            means[name].append(1 - token_mean(ranks, of_group) / layout.num_classes)
            counts[name] += count_ranks(ranks[of_group], layout.num_classes)
    return {name: np.concatenate(parts) for name, parts in means.items()}, counts
