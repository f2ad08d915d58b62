"""Identifiability: how close the correct class is to the top of a token's logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classlens.arrays import Array
from classlens.h5 import h5py
from classlens.hdf5 import describe, iterate_rows
from classlens.measures.boxes import count_ranks
from classlens.measures.layers import in_turn, read_layout

GROUP_NAMES = {"cls": "[CLS]", "image": "image tokens"}


def identifiability(layers: Sequence[str], output: str, measures: str) -> None:
    """Measure identifiability = 1 - rank / C at every block's residual (docs/method.md).

    Args:
        layers: the model's N x T layer files in block order.
        output: the model's output file, for `correct`.
        measures: the HDF5 file to write. With B blocks and C classes: `cls`, `image` (N, B) mean identifiability of
            each image's tokens; `identifiable` (N, B) share of image tokens whose rank is 0; `histogram/cls`,
            `histogram/image` (B, C) tokens at each rank; `correct` (N). Without [CLS] its two are missing.
    """
    layout = read_layout(layers[0])
    groups, classes = layout.groups, layout.num_classes
    images, blocks = layout.images, len(layers)
    # In double precision: differences that are equal have to stay ties in the tests to come.
    means = {group: np.empty((images, blocks)) for group in groups}
    counts = {group: np.zeros((blocks, classes), np.int64) for group in groups}
    identifiable = np.empty((images, blocks), np.float32)
    for block, layer in enumerate(in_turn(layers, "identifiability")):
        start = 0
        for batch in iterate_rows(layer, ["residual/rank"]):
            ranks = batch["residual/rank"]
            rows = slice(start, start + len(ranks))
            start = rows.stop
            for group, tokens in groups.items():
                means[group][rows, block] = 1 - ranks[:, tokens].mean(1) / classes
                counts[group][block] += count_ranks(ranks[:, tokens], classes)
            identifiable[rows, block] = (ranks[:, layout.image_tokens] == 0).mean(1)
    with h5py.File(output, "r") as file:
        correct = file["correct"][:]
    with h5py.File(measures, "w") as file:
        file.attrs["num_classes"] = classes
        for group in groups:
            _write(file, group, means[group], f"mean identifiability of {GROUP_NAMES[group]}, image x block")
        for group in groups:
            text = f"number of {GROUP_NAMES[group]} at each rank, all images, block x rank"
            _write(file, f"histogram/{group}", counts[group], text, "tokens")
        _write(file, "identifiable", identifiable, "share of image tokens with rank 0, image x block")
        _write(file, "correct", correct, "the model's largest logit is the correct class's")


def _write(file: h5py.File, name: str, values: Array, description: str, unit: str = "1") -> None:
    dataset = file.create_dataset(name, data=values, compression="gzip", shuffle=True)
    describe(dataset, description, unit)


@dataclass(frozen=True)
class Identifiability:
    """What `identifiability` wrote, by group of tokens; [CLS] only where there is one."""

    means: dict[str, Array]
    """(N, B) each."""
    histograms: dict[str, Array]
    """(B, C) each."""
    identifiable: Array
    """(N, B)"""
    correct: Array
    """(N)"""


def read_identifiability(path: str) -> Identifiability:
    """Read a file that `identifiability` wrote."""
    with h5py.File(path, "r") as file:
        groups = [group for group in GROUP_NAMES if group in file]
        return Identifiability(
            means={group: file[group][:] for group in groups},
            histograms={group: file[f"histogram/{group}"][:] for group in groups},
            identifiable=file["identifiable"][:],
            correct=file["correct"][:],
        )
