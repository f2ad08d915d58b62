"""How many image tokens are outliers by norm, and what the class lens sees in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.hdf5 import iterate_rows
from classlens.measures.layers import Layout, in_turn, read_layout, token_mean
from classlens.measures.outlier_norms import norm_thresholds
from classlens.statistics.resampling import Resampling, mean_columns, sign_flip_test


def outlier_tokens(layers: Sequence[str], table: str, norm: float | None, resampling: Resampling) -> None:
    """Measure the share of outlier tokens after each block, and their identifiability beside that of the others.

    Args:
        layers: the model's layer files in block order.
        table: the table to write, a row per block (from 0). Columns: block, images, threshold (norm above which an
            image token is an outlier), outliers (number of them), share (of an image's tokens, mean over images) with
            share_ci_low, share_ci_high (bootstrap over images); images_with_outliers (that have other tokens, too),
            outliers_mean and others_mean (identifiability, mean of these images' means), difference with ci_low,
            ci_high, and p_value (two-sided sign-flip test).
        norm: see `norm_thresholds`.
    """
    layout = read_layout(layers[0])
    parts = []
    thresholds = norm_thresholds(layers, layout, norm)
    for block, layer in enumerate(in_turn(layers, "outlier tokens")):
        share, outliers, others = _one_block(layer, layout, thresholds[block])
        both = np.isfinite(outliers) & np.isfinite(others)
        difference = (outliers - others)[both, None]
        columns = {
            "block": block,
            "images": layout.images,
            "threshold": thresholds[block],
            "outliers": round(float(share.sum()) * (layout.tokens - layout.num_prefix_tokens)),
            **mean_columns(share[:, None], resampling, "share", "share_"),
            "images_with_outliers": int(both.sum()),
            "outliers_mean": outliers[both].mean() if both.any() else np.nan,
            "others_mean": others[both].mean() if both.any() else np.nan,
            **mean_columns(difference, resampling, "difference"),
            "p_value": sign_flip_test(difference, "two-sided", resampling),
        }
        parts.append(pd.DataFrame(columns))
    write_table(pd.concat(parts, ignore_index=True), table)


def _one_block(layer: str, layout: Layout, threshold: float) -> tuple[Array, Array, Array]:
    """Return each image's share of outliers and the mean identifiability of outliers and of others (N); NaN without."""
    share, outliers, others = [], [], []
    for batch in iterate_rows(layer, ["residual/norm", "residual/rank"]):
        outlier = batch["residual/norm"][:, layout.image_tokens] > threshold
        ranks = batch["residual/rank"][:, layout.image_tokens]
        share.append(outlier.mean(1))
        outliers.append(1 - token_mean(ranks, outlier) / layout.num_classes)
        others.append(1 - token_mean(ranks, ~outlier) / layout.num_classes)
    return np.concatenate(share), np.concatenate(outliers), np.concatenate(others)
