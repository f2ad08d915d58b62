"""What one model does otherwise than another on the same images, part by part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.hdf5 import CHUNK_ROWS, iterate_rows
from classlens.measures.identifiability import Identifiability, read_identifiability
from classlens.statistics.correction import with_correction
from classlens.statistics.depth import depth_positions
from classlens.statistics.resampling import Resampling, mean_columns, sign_flip_test

PLACE = ("quantity", "part", "block", "head", "group")
Cell = tuple[str, str | None, int | None, int | None, str | None]
"""What a row of the table is about, see `PLACE`."""
Cells = dict[Cell, Array]
"""A value of every image, (N) float64."""


def difference(
    identifiability: Sequence[str],
    attribution: Sequence[str],
    effects: Sequence[str],
    table: str,
    resampling: Resampling,
    correction: str,
) -> None:
    """Subtract the first model's values from the second's, image by image.

    Models of one depth with as many heads are compared block by block and head by head. Others are compared by
    normalised depth (see `classlens.statistics.depth`) and as wholes.

    Args:
        identifiability: the two models' files of identifiability.
        attribution, effects: the same of direct contributions and of the effects of heads; one that is missing leaves
            both out.
        table: the table to write, a row per cell. Columns: quantity (identifiability, logit, accuracy, direct, effect),
            part (of direct: head, mlp, attention_bias, embedding, constant), block, head, group (cls, image), each
            empty where there is none; images; difference (second - first, mean over images) with ci_low and ci_high
            (bootstrap over images); p_value (two-sided sign-flip test), p_corrected and significant (over the table).
            Blocks and heads are from 0; by normalised depth, blocks are its positions, from 0.

    Raises:
        InputError: the models did not see the same number of images.
    """
    seen = [read_identifiability(path) for path in identifiability]
    depths = {found.means["image"].shape[1] for found in seen}
    cells = _subtracted([_identifiability(found, by_position=len(depths) > 1) for found in seen])
    if len(attribution) == 2:
        cells |= _subtracted([*map(_direct, attribution)], alike=len({*map(_shape, attribution)}) == 1)
    if len(effects) == 2 and len({*map(_shape, effects)}) == 1:
        cells |= _subtracted([*map(_effects, effects)])
    values = np.stack([*cells.values()], axis=1)
    names = pd.DataFrame([*cells], columns=[*PLACE]).astype({"block": "Int64", "head": "Int64"})
    found = names.assign(images=len(values), **mean_columns(values, resampling, "difference"))
    found["p_value"] = sign_flip_test(values, "two-sided", resampling)
    write_table(with_correction(found, correction, resampling.confidence), table)


def _subtracted(pair: Sequence[Cells], *, alike: bool = True) -> Cells:
    """Return second - first of the cells that both have; of models that are not alike, of those in no block."""
    first, second = pair
    counts = {len(values) for cells in pair for values in cells.values()}
    if len(counts) > 1:
        raise InputError(f"the models saw {' and '.join(map(str, sorted(counts)))} images; give both the same data set")
    return {cell: second[cell] - first[cell] for cell in first if cell in second and (alike or cell[2] is None)}


def _identifiability(found: Identifiability, *, by_position: bool) -> Cells:
    cells: Cells = {("accuracy", None, None, None, None): found.correct.astype(np.float64)}
    for group, means in found.means.items():
        positions = depth_positions(means.shape[1]) - 1 if by_position else np.arange(means.shape[1])
        for place in np.unique(positions):
            cells["identifiability", None, int(place), None, group] = means[:, positions == place].mean(1)
    return cells


def _direct(attribution: str) -> Cells:
    names = ("heads", "mlp", "attention_bias", "embedding", "constant", "logit")
    # The heads of many images and tokens are large, so a chunk at a time.
    parts = [
        {name: (values.sum(-1, dtype=np.float64) if name == "heads" else values) for name, values in batch.items()}
        for batch in iterate_rows(attribution, names, CHUNK_ROWS)
    ]
    values = {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in names}
    cells: Cells = {("logit", None, None, None, None): values.pop("logit")}
    heads = values.pop("heads")
    cells |= {("direct", "head", *place, None): heads[:, *place] for place in np.ndindex(heads.shape[1:])}
    for part, of_part in values.items():
        if of_part.ndim == 1:
            cells["direct", part, None, None, None] = of_part
        else:
            cells |= {("direct", part, block, None, None): of_block for block, of_block in enumerate(of_part.T)}
    return cells


def _effects(effects: str) -> Cells:
    with h5py.File(effects) as file:
        values = file["effect"][:].astype(np.float64)
    return {("effect", None, *place, None): values[:, *place] for place in np.ndindex(values.shape[1:])}


def _shape(path: str) -> tuple[int, ...]:
    """Return blocks and heads."""
    with h5py.File(path) as file:
        shape: tuple[int, ...] = file["effect" if "effect" in file else "heads"].shape[1:3]
    return shape
