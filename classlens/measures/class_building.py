"""How the branches of a block build the class representation in the residual stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.columns import PARTS
from classlens.csvfile import write_table
from classlens.measures.layers import Layout, in_turn, read_layout, steps
from classlens.statistics.resampling import Resampling, mean_columns
from classlens.terms import BRANCHES

Quantity = tuple[str, str, str]
"""measure, part, group: what a row of the table is about."""


def class_building(layers: Sequence[str], table: str, resampling: Resampling) -> None:
    """Measure class similarity change rates and the composition of the residual (docs/method.md).

    Args:
        layers: the model's layer files in block order.
        table: the table to write, a row per quantity and block from 1 on (blocks count from 0). Columns: measure, part,
            group, block, percent (of an image's tokens, averaged over images), ci_low, ci_high (bootstrap over images).
            The measures:

            - `change`: tokens at which logit(branch[b]) > logit(residual[b - 1]); part = branch, group = `cls` (absent
              without [CLS]) or `image`.
            - `match`: tokens whose strongest class in residual[b] is also that of residual[b - 1] (`previous`), attn[b]
              or mlp[b]. All tokens, prefix tokens too (group `all`). These rates overlap.
            - `partition`: the same tokens cut into exclusive parts that sum to 100 %: those that match `previous`
              alone, `attn` alone, `mlp` alone, `several` of the three, or none (`composition`).
    """
    layout = read_layout(layers[0])
    blocks = range(1, len(layers))
    keys = [(quantity, block) for quantity in _quantities(layout) for block in blocks]
    percent = np.empty((layout.images, len(keys)))
    for block in in_turn(blocks, "class building"):
        for quantity, rate in _block_rates(layers, block, layout).items():
            percent[:, keys.index((quantity, block))] = 100 * rate
    rows = [(*quantity, block) for quantity, block in keys]
    names = pd.DataFrame(rows, columns=["measure", "part", "group", "block"])
    write_table(names.assign(**mean_columns(percent, resampling, "percent")), table)


def _quantities(layout: Layout) -> list[Quantity]:
    """Return what is measured, in the order of the table."""
    change = [("change", branch, group) for branch in BRANCHES for group in layout.groups]
    match = [("match", part, "all") for part in ("previous", *BRANCHES)]
    return [*change, *match, *(("partition", part, "all") for part in PARTS)]


def _block_rates(layers: Sequence[str], block: int, layout: Layout) -> dict[Quantity, Array]:
    """Return each quantity as a share of every image's tokens, (N) each."""
    before = ["residual/logit", "residual/top5"]
    here = [*(f"{branch}/logit" for branch in BRANCHES), *(f"{site}/top5" for site in ("residual", *BRANCHES))]
    batches = [_change(old, new, layout) | _composition(old, new) for old, new in steps(layers, block, before, here)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _change(old: dict[str, Array], new: dict[str, Array], layout: Layout) -> dict[Quantity, Array]:
    return {
        ("change", branch, group): (new[f"{branch}/logit"] > old["residual/logit"])[:, tokens].mean(1)
        for branch in BRANCHES
        for group, tokens in layout.groups.items()
    }


def _composition(old: dict[str, Array], new: dict[str, Array]) -> dict[Quantity, Array]:
    named = {"previous": old["residual/top5"], "attn": new["attn/top5"], "mlp": new["mlp/top5"]}
    matches = {part: new["residual/top5"][..., 0] == top[..., 0] for part, top in named.items()}
    count = sum(match.astype(np.int8) for match in matches.values())
    exclusive = {name: match & (count == 1) for name, match in matches.items()}
    exclusive |= {"several": count > 1, "composition": count == 0}
    return {
        **{("match", name, "all"): match.mean(1) for name, match in matches.items()},
        **{("partition", part, "all"): exclusive[part].mean(1) for part in PARTS},
    }
