"""Key-value agreement: how often the tokens of a class call up the memories that promote it most."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.measures.statistics import bootstrap_interval
from classlens.memories.rates import Files, all_files, class_rates, hit_chance, read_class_index
from classlens.tables.files import write_table


def key_value_agreement(
    memories: Files, output: str, classes_path: str, means_path: str, resamples: int, confidence: float, seed: int
) -> None:
    """Rate the agreement of every class, and of all classes together (SPEC: section 3).

    Args:
        memories: the model's memory files by branch, in block order.
        output: its output file.
        classes_path: the table to write with a row per branch, block (from 0) and class: branch, block, class_index,
            images, rate_percent (% of the class's images and tokens), control_percent (the same tokens against
            random classes).
        means_path: the table to write with a row per branch and block: branch, block, classes; mean_percent and
            control_percent (means over classes); difference (percentage points); each with _ci_low, _ci_high
            (bootstrap over classes); chance_percent (random keys against random memories).
    """
    rows = all_files(memories)
    files = [file for *_, file in rows]
    class_index = read_class_index(output)
    classes, images = np.unique(class_index, return_counts=True)
    rate, control = (100 * class_rates(files, name, class_index) for name in ("agreement", "agreement_random"))
    names = pd.DataFrame({"branch": [branch for branch, *_ in rows], "block": [block for _, block, _ in rows]})
    table = names.loc[names.index.repeat(len(classes))].assign(
        class_index=np.tile(classes, len(rows)),
        images=np.tile(images, len(rows)),
        rate_percent=rate.T.ravel(),
        control_percent=control.T.ravel(),
    )
    write_table(table, classes_path)
    means = names.assign(classes=len(classes))
    for name, values in {"mean_percent": rate, "control_percent": control, "difference": rate - control}.items():
        low, high = bootstrap_interval(values, resamples, confidence, seed)
        means = means.assign(**{name: values.mean(0), f"{name}_ci_low": low, f"{name}_ci_high": high})
    write_table(means.assign(chance_percent=[100 * hit_chance(file) for file in files]), means_path)
