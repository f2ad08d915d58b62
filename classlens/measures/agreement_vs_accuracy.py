"""Does [CLS] call up the memories of its class more often in images that the model gets right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.measures.memory_rates import image_rates, rows_of
from classlens.statistics.groups import interval
from classlens.statistics.resampling import Resampling


def agreement_vs_accuracy(
    attn: Sequence[str], mlp: Sequence[str], output: str, table: str, resampling: Resampling
) -> None:
    """Compare the [CLS] agreement of correctly and wrongly classified images (docs/method.md).

    Args:
        attn, mlp: the model's memory files of either branch, in block order.
        output: its output file.
        table: the table to write, a row per branch and block (from 0). Columns: branch, block, correct_images,
            wrong_images, correct_percent, wrong_percent (% of those images whose [CLS] agrees), difference (correct -
            wrong, percentage points), ci_low, ci_high (bootstrap over images), p_value (two-sided permutation test,
            not corrected). Empty where a group has no image, intervals and tests also where it has only one.

    Raises:
        InputError: the model has no [CLS].
    """
    with h5py.File(output, "r") as file:
        if not file.attrs["has_class_token"]:
            raise InputError(
                f"{output}: agreement_vs_accuracy looks at [CLS], which this model does not have; leave the analysis "
                "out of the model's key `analyses`"
            )
        correct = file["correct"][:]
    rows, files = rows_of(attn, mlp)
    agrees = np.stack([image_rates(file, "agreement", slice(0, 1)) for file in files], axis=1) > 0
    right, wrong = agrees[correct], agrees[~correct]
    low, high = difference_interval(right, wrong, resampling)
    rates = {"correct_percent": _percent(right), "wrong_percent": _percent(wrong)}
    columns: dict[str, Any] = {
        "correct_images": len(right),
        "wrong_images": len(wrong),
        **rates,
        "difference": rates["correct_percent"] - rates["wrong_percent"],
        "ci_low": 100 * low,
        "ci_high": 100 * high,
        "p_value": difference_test(right, wrong, resampling),
    }
    write_table(rows.assign(**columns), table)


def difference_interval(right: Array, wrong: Array, resampling: Resampling) -> tuple[Array, Array]:
    """Return the percentile bootstrap interval of the difference of two groups' rates.

    Images are resampled within their group. The images of a resample for which something is true are a binomial
    number, so it is drawn directly.

    Args:
        right, wrong: (n, K) and (m, K) bool.
        resampling: how often, and the level of the interval.

    Returns:
        Lower and upper end of mean(right) - mean(wrong), (K) each; NaN where a group has fewer than two images.
    """
    if min(len(right), len(wrong)) < 2:
        return np.full(right.shape[1], np.nan), np.full(right.shape[1], np.nan)
    random = np.random.default_rng(resampling.seed)
    drawn = [
        random.binomial(len(group), group.mean(0), (resampling.resamples, group.shape[1])) for group in (right, wrong)
    ]
    return interval(drawn[0] / len(right) - drawn[1] / len(wrong), resampling)


def difference_test(right: Array, wrong: Array, resampling: Resampling) -> Array:
    """Test by permutation of the images whether two groups' rates differ; two-sided.

    When images change groups at random, the number of true ones that fall into the first group is hypergeometric, so
    it is drawn directly. p = (k + 1) / (resamples + 1), k being the permutations whose difference is at least as
    large.

    Args:
        right, wrong: (n, K) and (m, K) bool.

    Returns:
        p-values (K); NaN where a group has fewer than two images.
    """
    if min(len(right), len(wrong)) < 2:
        return np.full(right.shape[1], np.nan)
    true, count = right.sum(0) + wrong.sum(0), len(right) + len(wrong)
    draws = (resampling.resamples, len(true))
    drawn = np.random.default_rng(resampling.seed).hypergeometric(true, count - true, len(right), draws)
    # The difference times n m, in integers, so that a tie stays a tie.
    extreme = np.abs(drawn * count - true * len(right)) >= np.abs(right.sum(0) * count - true * len(right))
    result: Array = (extreme.sum(0) + 1) / (resampling.resamples + 1)
    return result


def _percent(agrees: Array) -> Array:
    return 100 * agrees.mean(0) if len(agrees) else np.full(agrees.shape[1], np.nan)
