"""Identifiable tokens and accuracy under perturbations, beside those of the unperturbed model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.catalog.kinds import TOKEN_KINDS
from classlens.columns import LABELS
from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.measures.layers import read_layout, token_mean
from classlens.statistics.resampling import Resampling, mean_row

KEPT_TOKENS = {"no_context": "class", "no_class": "context"}
"""Which labelled tokens a token perturbation leaves."""


def attention_perturbation(
    last_layer: str, output: str, perturbed: Sequence[str], table: str, *, kinds: Sequence[str], resampling: Resampling
) -> None:
    """Rate a model's last block under attention perturbations (docs/method.md, perturbations).

    Args:
        last_layer: the layer file of the last block, for the unperturbed ranks.
        output: the model's output file, for the unperturbed correctness.
        perturbed: a file of each attention perturbation.
        table: the table to write, a row per kind, `none` first. Columns: perturbation, images;
            identifiable_image_tokens_percent, identifiable_tokens_percent (of all tokens, prefix tokens too; both
            averaged over images), accuracy (a fraction), and difference (percentage points of image tokens from
            `none`), each with _ci_low, _ci_high (bootstrap over images).
        kinds: what was perturbed in each file.
    """
    image_tokens = read_layout(last_layer).image_tokens
    states = {"none": (_read(last_layer, "residual/rank"), _read(output, "correct"))}
    states |= {kind: (_read(file, "rank"), _read(file, "correct")) for kind, file in zip(kinds, perturbed, strict=True)}
    rows = []
    for kind, (rank, correct) in states.items():
        image = 100.0 * (rank[:, image_tokens] == 0).mean(1)
        unperturbed = 100.0 * (states["none"][0][:, image_tokens] == 0).mean(1)
        quantities = {
            "identifiable_image_tokens_percent": image,
            "identifiable_tokens_percent": 100.0 * (rank == 0).mean(1),
            "accuracy": correct,
            "difference": image - unperturbed,
        }
        rows.append({"perturbation": kind, "images": len(rank), **mean_row(quantities, resampling)})
    write_table(pd.DataFrame(rows), table)


def token_perturbation(
    last_layer: str, output: str, labels: str, perturbed: Sequence[str], table: str, *, resampling: Resampling
) -> None:
    """Rate the tokens that are left when the others were taken out (docs/method.md, perturbations).

    Args:
        last_layer, output: as of `attention_perturbation`.
        labels: the model's token labels.
        perturbed: a file of each token perturbation, in the order of `kinds.TOKEN_KINDS`.
        table: the table to write, a row per kind. Columns: perturbation, tokens (which are left and rated), images
            (that have such tokens), images_without (that have none, and are kept out); identifiable_percent of these
            tokens, unperturbed_percent of the same tokens, difference (both averaged over images), accuracy and
            unperturbed_accuracy (fractions), each with _ci_low, _ci_high (bootstrap over images).
    """
    image_tokens = read_layout(last_layer).image_tokens
    before, right = _read(last_layer, "residual/rank")[:, image_tokens] == 0, _read(output, "correct")
    label = _read(labels, "label")
    rows = []
    for kind, file in zip(TOKEN_KINDS, perturbed, strict=True):
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
            "accuracy": _read(file, "correct")[counted],
            "unperturbed_accuracy": right[counted],
        }
        counts = {"images": int(counted.sum()), "images_without": int((~counted).sum())}
        rows.append({"perturbation": kind, "tokens": tokens, **counts, **mean_row(quantities, resampling)})
    write_table(pd.DataFrame(rows), table)


def _read(path: str, name: str) -> Array:
    with h5py.File(path, "r") as file:
        return np.asarray(file[name])
