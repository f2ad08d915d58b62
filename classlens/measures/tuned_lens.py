"""The tuned lens beside the logit lens, by block: how far each is from the last block, and what it sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.measures.layers import Layout, read_layout
from classlens.statistics.resampling import Resampling, mean_columns, sign_flip_test
from classlens.tuned_lens.map_names import LENS


def compare_lenses(maps: Sequence[str], layers: Sequence[str], table: str, resampling: Resampling) -> None:
    """Compare the tuned lens with the logit lens at every block's residual.

    Args:
        maps: the model's files of the tuned lens in block order.
        layers: its layer files in block order.
        table: the table to write, a row per quantity (`kl`, in nats, to the class distribution at the last block;
            `identifiability`), group of tokens (`cls`, `image`) and block (from 0). Columns: quantity, group, block,
            images, map (`logit_lens` where the tuned lens has none and is the logit lens, else `ridge` or `kl_steps`);
            logit_lens and tuned_lens (means over images of each image's mean over tokens) with logit_lens_ci_low, ...
            (bootstrap over images); difference (tuned_lens - logit_lens) with difference_ci_low, difference_ci_high and
            p_value (two-sided sign-flip test; empty where there is no map, as the two are the same).
    """
    layout = read_layout(layers[0])
    rows, plain, tuned = [], [], []
    for path, layer in zip(maps, layers, strict=True):
        with h5py.File(path, "r") as file:
            facts = {"block": int(file.attrs["block"]), "map": str(file.attrs["chosen"])}
        for quantity, group, of_plain, of_tuned in _of_block(path, layer, layout):
            rows.append({"quantity": quantity, "group": group, **facts})
            plain.append(of_plain)
            tuned.append(of_tuned)
    before, after = np.stack(plain, axis=1), np.stack(tuned, axis=1)
    columns: dict[str, Any] = {"images": len(before)}
    for name, values in {"logit_lens": before, "tuned_lens": after, "difference": after - before}.items():
        columns |= mean_columns(values, resampling, name, f"{name}_")
    found = pd.DataFrame(rows).assign(**columns)
    p_values = sign_flip_test(after - before, "two-sided", resampling)
    found["p_value"] = np.where(found["map"] == LENS, np.nan, p_values)
    # Divergence first, as in the figure; within it by group and block.
    found = found.sort_values(["quantity", "group", "block"], ascending=[False, True, True])
    write_table(found[["quantity", "group", "block", "images", "map", *list(columns)[1:], "p_value"]], table)


def _of_block(path: str, layer: str, layout: Layout) -> Iterator[tuple[str, str, Array, Array]]:
    """Yield quantity, group of tokens, and each image's mean by the logit lens and by the tuned lens (N) float64."""
    with h5py.File(path, "r") as own, h5py.File(layer, "r") as of_layer:
        kl = own["kl_logit_lens"][:], own["kl"][:]
        ranks = of_layer["residual/rank"][:], own["rank"][:]
    for group, tokens in layout.groups.items():
        of_kl, of_ranks = ([values[:, tokens].mean(1, dtype=np.float64) for values in lenses] for lenses in (kl, ranks))
        yield "kl", group, *of_kl
        yield "identifiability", group, *(1 - rank / layout.num_classes for rank in of_ranks)
