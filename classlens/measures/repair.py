"""What a repair does to accuracy and to the worst group: the report on images that it was not chosen by."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.csvfile import read_texts, write_table
from classlens.h5 import h5py
from classlens.statistics.groups import change_of_worst, group_means, groups_of, worst
from classlens.statistics.resampling import Resampling

CHOOSING, REPORTING = "choosing", "reporting"
COLUMNS = ("half", "who", "draw", "heads", "accuracy", "worst_group", "change", "ci_low", "ci_high", "found")


def repair(answers: str, output: str, groups: str, table: str, attribute: str, resampling: Resampling) -> None:
    """Report what a repair does on both halves of the images.

    Args:
        answers: see `classlens.passes.repair.write_repair`.
        output: output file, for the images' classes.
        groups: groups.csv.
        table: the table to write. Columns: half (`choosing` or `reporting`), who (`model`, `repaired`, or `random`: as
            many heads, drawn at random), draw (of these, from 1), heads (replaced: "block.head block.head", from 0),
            accuracy, worst_group (the smallest accuracy of a group with at least `groups.FEWEST` images of the half;
            both fractions), change (of worst_group, from the model) with ci_low, ci_high (bootstrap over images within
            groups, the worst group found anew), found (of repaired: whether the reporting half's interval lies above 0;
            otherwise repaired.safetensors is the model's own).
        attribute: of groups.csv.
    """
    with h5py.File(answers, "r") as file:
        right, choosing, is_found = file["correct"][:], file["choosing"][:], bool(file.attrs["found"])
        heads = [" ".join(f"{block}.{head}" for block, head in one if block >= 0) for one in file["heads"][:].tolist()]
    with h5py.File(output, "r") as file:
        classes = file["class_index"][:]
    every, _ = groups_of(classes, read_texts(groups)[attribute].to_numpy(str))
    whose = ["model", "repaired", *["random"] * (len(right) - 2)]
    rows = []
    for half, chosen in ((CHOOSING, choosing), (REPORTING, ~choosing)):
        of = every.among(chosen)
        for place, (who, named) in enumerate(zip(whose, heads, strict=True)):
            before, after = right[0, chosen], right[place, chosen]
            lowest = worst(group_means(after[:, None], of), of)[0]
            changed = change_of_worst(before, after, of, resampling) if place else None
            told = (changed.change, changed.low, changed.high) if changed else (np.nan,) * 3
            draw = place - 1 if who == "random" else None
            rows.append((half, who, draw, named, after.mean(), lowest, *told, None))
    found = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"draw": "Int64"})
    repaired = found["who"] == "repaired"
    write_table(found.assign(found=pd.Series(is_found, found.index).where(repaired)), table)
