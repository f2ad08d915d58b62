"""Identifiable tokens and accuracy under perturbations, beside those of the unperturbed model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from classlens.measures.labels import LABELS
from classlens.measures.layers import read_layout, token_mean
from classlens.measures.statistics import bootstrap_interval
from classlens.tables.files import write_table

Array = npt.NDArray[Any]

KEPT_TOKENS = {"no_context": "class", "no_class": "context"}
"""Which labelled tokens a token perturbation leaves."""


def attention_perturbation(
    last_layer: str,
    output: str,
    perturbed: Mapping[str, str],
    path: str,
    resamples: int,
    confidence: float,
    seed: int,
) -> None:
    """Rate a model's last block under attention perturbations (SPEC: section 4).

    Args:
        last_layer: the layer file of the last block, for the unperturbed ranks.
        output: the model's output file, for the unperturbed correctness.
        perturbed: files of attention perturbations by kind.
        path: the table to write, a row per kind, `none` first. Columns: perturbation, images;
            identifiable_image_tokens_percent, identifiable_tokens_percent (of all tokens, prefix tokens too; both
            averaged over images), accuracy (a fraction), and difference (percentage points of image tokens from
            `none`), each with _ci_low, _ci_high (bootstrap over images).
    """
    image_tokens = read_layout(last_layer).image_tokens
    states = {"none": (_read(last_layer, "residual/rank"), _read(output, "correct"))}
    states |= {kind: (_read(file, "rank"), _read(file, "correct")) for kind, file in perturbed.items()}
    rows = []
    for kind, (rank, correct) in states.items():
        image = 100.0 * (rank[:, image_tokens] == 0).mean(1)
        unperturbed = 100.0 * (states["none"][0][:, image_tokens] == 0).mean(1)
        quantities = {
            "identifiable_image_tokens_percent": image,
            "identifiable_tokens_percent": 100.0 * (rank == 0).mean(1),
            "accuracy": correct.astype(np.float64),
            "difference": image - unperturbed,
        }
        rows.append(
            {"perturbation": kind, "images": len(rank), **_with_intervals(quantities, resamples, confidence, seed)}
        )
    write_table(pd.DataFrame(rows), path)


def token_perturbation(
    last_layer: str,
    output: str,
    labels: str,
    perturbed: Mapping[str, str],
    path: str,
    resamples: int,
    confidence: float,
    seed: int,
) -> None:
    """Rate the tokens that are left when the others were taken out (SPEC: section 4).

    Args:
        last_layer, output: as of `attention_perturbation`.
        labels: the model's token labels.
        perturbed: files of token perturbations by kind.
        path: the table to write, a row per kind. Columns: perturbation, tokens (which are left and rated), images (that
            have such tokens), images_without (that have none, and are kept out); identifiable_percent of these tokens,
            unperturbed_percent of the same tokens, difference (both averaged over images), accuracy and
            unperturbed_accuracy (fractions), each with _ci_low, _ci_high (bootstrap over images).
    """
    image_tokens = read_layout(last_layer).image_tokens
    before, right = _read(last_layer, "residual/rank")[:, image_tokens] == 0, _read(output, "correct")
    label = _read(labels, "label")
    rows = []
    for kind, file in perturbed.items():
        tokens = KEPT_TOKENS[kind]
        of_group = label == LABELS[tokens]
        counted = of_group.any(1)
        after = _read(file, "rank")[:, image_tokens] == 0
        left, unperturbed = (
            100.0 * token_mean(identifiable[counted], of_group[counted]) for identifiable in (after, before)
        )
        quantities = {
            "identifiable_percent": left,
            "unperturbed_percent": unperturbed,
            "difference": left - unperturbed,
            "accuracy": _read(file, "correct")[counted].astype(np.float64),
            "unperturbed_accuracy": right[counted].astype(np.float64),
        }
        counts = {"images": int(counted.sum()), "images_without": int((~counted).sum())}
        intervals = _with_intervals(quantities, resamples, confidence, seed)
        rows.append({"perturbation": kind, "tokens": tokens, **counts, **intervals})
    write_table(pd.DataFrame(rows), path)


def _with_intervals(quantities: Mapping[str, Array], resamples: int, confidence: float, seed: int) -> dict[str, float]:
    values = np.stack(list(quantities.values()), axis=1)
    low, high = bootstrap_interval(values, resamples, confidence, seed)
    means = values.mean(0) if len(values) else np.full(values.shape[1], np.nan)
    row: dict[str, float] = {}
    for index, name in enumerate(quantities):
        row |= {name: means[index], f"{name}_ci_low": low[index], f"{name}_ci_high": high[index]}
    return row


def _read(path: str, name: str) -> Array:
    with h5py.File(path, "r") as file:
        return np.asarray(file[name])
