"""Small synthetic layer files, output files and token labels, with the arrays that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import boxplot_stats

from classlens.csvfile import read_table
from classlens.extraction.files import layer_attributes, layer_columns, output_columns
from classlens.hdf5 import Column, RowWriter
from classlens.statistics.resampling import bootstrap_interval, sign_flip_test
from classlens.terms import SITES, block_name

MODELS = (
    {"prefix": 1, "has_cls": True, "images": 5},
    {"prefix": 2, "has_cls": True, "images": 1},
    {"prefix": 3, "has_cls": False, "images": 7},
    {"prefix": 0, "has_cls": False, "images": 6},
)
"""What `extracted` makes of models with a class token alone, with distillation token, registers, and neither."""


@dataclass
class Extracted:
    """Files of one imaginary model, and what is in them: arrays (B, N, T[, 5])."""

    layers: list[str]
    output: str
    rank: dict[str, np.ndarray]
    logit: dict[str, np.ndarray]
    top: dict[str, np.ndarray]
    norm: np.ndarray
    correct: np.ndarray
    classes: int
    prefix: int

    @property
    def blocks(self) -> int:
        return len(self.layers)

    @property
    def images(self) -> int:
        return self.rank["residual"].shape[1]

    @property
    def tokens(self) -> int:
        return self.rank["residual"].shape[2]

    @property
    def patches(self) -> int:
        return self.tokens - self.prefix


def extracted(
    folder: Path, *, seed=0, blocks=3, images=7, patches=5, classes=6, prefix=1, has_cls=True, better=0
) -> Extracted:
    """Write the files of a model whose values are random.

    Args:
        better: ranks are the least of so many more draws, so that a model exceeds its random twin.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    shape = (blocks, images, prefix + patches)
    # Few classes and coarse logits, so that matches and ties occur.
    rank = {site: generator.integers(0, classes, (better + 1, *shape)).min(0) for site in SITES}
    logit = {site: (generator.integers(-4, 5, shape) / 2).astype(np.float32) for site in SITES}
    top = {
        site: generator.permuted(np.broadcast_to(np.arange(classes), (*shape, classes)), axis=-1)[..., :5]
        for site in SITES
    }
    # Some far above the others.
    norm = (generator.integers(20, 30, shape) * generator.choice([1, 1, 1, 1, 4], shape)).astype(np.float32)
    attributes = layer_attributes(classes, prefix, has_cls)
    every = layer_columns(shape[2], classes, {"attn": 8, "mlp": 8})
    columns = {name: column for name, column in every.items() if not name.startswith("keys/")}
    layers = [str(folder / f"{block_name(block)}.h5") for block in range(blocks)]
    for block, path in enumerate(layers):
        with RowWriter(path, images, columns, attributes) as writer:
            read = {"rank": rank, "logit": logit, "top5": top}
            rows = {f"{site}/{name}": values[site][block] for site in SITES for name, values in read.items()}
            writer.append({**rows, "residual/norm": norm[block]})
    correct = generator.random(images) < 0.6
    output = str(folder / "output.h5")
    with RowWriter(output, images, output_columns(classes), attributes) as writer:
        shown = np.zeros((images, min(5, classes)), int)
        writer.append({"class_index": np.zeros(images, int), "correct": correct, "top5": shown})
    return Extracted(layers, output, rank, logit, top, norm, correct, classes, prefix)


def write_labels(path: Path, label: np.ndarray) -> str:
    """Write token labels (N, P)."""
    columns = {
        "label": Column((label.shape[1],), np.int8, "class, context or neither"),
        "class_fraction": Column((label.shape[1],), np.float32, "share of class pixels"),
    }
    with RowWriter(path, len(label), columns) as writer:
        writer.append({"label": label.astype(np.int8), "class_fraction": np.zeros(label.shape, np.float32)})
    return str(path)


def random_labels(seed: int, images: int, patches: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1, 0, 1], (images, patches))


def mean(values) -> float:
    """The mean, written down."""
    values = [float(value) for value in values]
    return sum(values) / len(values)


def agrees(row, values, resampling, name="mean", prefix="", test=None) -> None:
    """Assert that a row of a table has the mean over images of values (N), its interval, and the p-value of a test."""
    values = np.asarray(list(values), float)[:, None]
    expected = {name: mean(values[:, 0]) if len(values) else np.nan}
    low, high = bootstrap_interval(values, resampling)
    expected |= {f"{prefix}ci_low": low[0], f"{prefix}ci_high": high[0]}
    if test:
        expected["p_value"] = sign_flip_test(values, test, resampling)[0]
    # Tables keep six digits.
    assert {one: row[one] for one in expected} == pytest.approx(expected, rel=2e-5, abs=1e-6, nan_ok=True)


def box_of(tokens) -> list[float]:
    """The five numbers of `BOX_COLUMNS` as matplotlib draws the tokens; NaN where there is none."""
    (box,) = boxplot_stats(list(tokens) or [np.nan])
    return [float(box[name]) for name in ("whislo", "q1", "med", "q3", "whishi")]


def tabled(function, folder: Path, **files) -> pd.DataFrame:
    """The table that a measure writes."""
    path = str(folder / f"{function.__name__}.csv")
    function(**files, table=path)
    return read_table(path)
