"""How well an explanation finds the object: its importance against the segmentation mask.

Importance is one number per image token; scores are those of the map in which every pixel has its token's importance
(nearest neighbour). Since all pixels of a token are equal, counts of pixels per token say the same, and no map is made.
Ignored pixels count nowhere. Scores that need a threshold call a pixel object when its importance is above the mean of
the image's tokens, as the segmentation test of Chefer, Gur, Wolf, CVPR 2021 (arXiv 2012.09838) does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from classlens.arrays import Array
from classlens.columns import SCORES
from classlens.csvfile import write_table
from classlens.data.cells import cells, patch_of
from classlens.data.mask import CLASS, CONTEXT
from classlens.errors import InputError
from classlens.hdf5 import iterate_rows
from classlens.statistics.resampling import Resampling, mean_columns


def segmentation_scores(
    masks: str,
    explanations: Sequence[str],
    table: str,
    *,
    methods: Sequence[str],
    grid: Sequence[int],
    resampling: Resampling,
    patch: Sequence[int] | None = None,
) -> None:
    """Write the segmentation scores of several explanations.

    Args:
        masks: mask file, `mask` (N, H, W) after the images' geometry.
        explanations: explanation files.
        table: the table to write. Columns: method, score, images (those that have class pixels), mean over them,
            ci_low, ci_high (bootstrap over images). All scores are fractions.
        methods: the explanation of each of the files.
        grid: rows and columns of image tokens.
        resampling: see `bootstrap_interval`.
        patch: height and width of each token, see `cells`.

    Raises:
        InputError: an explanation does not fit the masks or the grid.
    """
    rows = []
    for method, explanation in zip(methods, explanations, strict=True):
        both = zip(iterate_rows(explanation, ["importance"]), iterate_rows(masks, ["mask"]), strict=True)
        scores = np.concatenate([score_images(own["importance"], truth["mask"], grid, patch) for own, truth in both])
        counted = scores[np.isfinite(scores).all(1)]
        columns = {"method": method, "score": SCORES, "images": len(counted), **mean_columns(counted, resampling)}
        rows.append(pd.DataFrame(columns))
    write_table(pd.concat(rows, ignore_index=True), table)


def score_images(importance: Array, masks: Array, grid: Sequence[int], patch: Sequence[int] | None = None) -> Array:
    """Score explanations against masks.

    `pointing_game` (Zhang et al., IJCV 2018, arXiv 1608.00507): 1 when the pixel in the middle of the most important
    token is a class pixel, else 0. `pixel_accuracy`: share of pixels whose call is right. `average_precision`: of
    importance as a detector of class pixels, the sum over thresholds k of (recall_k - recall_(k-1)) precision_k. `iou`:
    class pixels that are called object, over pixels that are one or the other.

    Args:
        importance: (n, P).
        masks: (n, H, W) of 0 context, 1 class, 2 ignore.
        grid: rows and columns of image tokens, P together.
        patch: height and width of each, see `cells`.

    Returns:
        (n, 4) in the order of `SCORES`; NaN for images without a class pixel, in which nothing can be found.

    Raises:
        InputError: importance and masks do not fit each other or the grid.
    """
    if importance.shape != (len(masks), grid[0] * grid[1]) or masks.ndim != 3:
        raise InputError(
            f"importance {importance.shape} and masks {masks.shape} do not fit a grid of {grid[0]} x {grid[1]} tokens; "
            f"take masks of the same images and the model's own grid"
        )
    of_tokens = cells(masks, grid, patch)
    pixels = {value: (of_tokens == value).sum(-1) for value in (CONTEXT, CLASS)}
    called = importance > importance.mean(1, keepdims=True)
    hit = np.where(called, pixels[CLASS], 0).sum(1)
    false = np.where(called, pixels[CONTEXT], 0).sum(1)
    of_class, of_context = pixels[CLASS].sum(1), pixels[CONTEXT].sum(1)
    height, width = patch_of(masks, grid, patch)
    middle = of_tokens[np.arange(len(of_tokens)), importance.argmax(1), height // 2 * width + width // 2]
    with np.errstate(invalid="ignore"):
        accuracy = (hit + of_context - false) / (of_class + of_context)
        precision = _average_precision(importance, pixels[CLASS], pixels[CONTEXT])
        scores = np.stack([middle == CLASS, accuracy, precision, hit / (of_class + false)], axis=1)
    return np.asarray(np.where((of_class > 0)[:, None], scores, np.nan))


def _average_precision(importance: Array, of_class: Array, of_context: Array) -> Array:
    """Return average precision over pixels, each token standing for its class and its context pixels by weight."""
    truth = np.repeat([1, 0], importance.shape[1])
    weights, found = np.concatenate([of_class, of_context], axis=1), np.full(len(importance), np.nan)
    for image in np.flatnonzero(of_class.any(1)):
        scores = np.tile(importance[image], 2)
        found[image] = average_precision_score(truth, scores, sample_weight=weights[image])
    return found
