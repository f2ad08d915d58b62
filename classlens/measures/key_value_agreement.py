"""Key-value agreement: how often the tokens of a class call up the memories that promote it most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classlens.csvfile import write_table
from classlens.measures.memory_rates import class_rates, hit_chance, read_class_index, rows_of
from classlens.statistics.resampling import Resampling, mean_columns


def key_value_agreement(
    attn: Sequence[str], mlp: Sequence[str], output: str, classes: str, table: str, resampling: Resampling
) -> None:
    """Rate the agreement of every class, and of all classes together (docs/method.md).

    Args:
        attn, mlp: the model's memory files of either branch, in block order.
        output: its output file.
        classes: the table to write with a row per branch, block (from 0) and class: branch, block, class_index,
            images, rate_percent (% of the class's images and tokens), control_percent (the same tokens against
            random classes).
        table: the table to write with a row per branch and block: branch, block, classes; mean_percent and
            control_percent (means over classes); difference (percentage points); each with _ci_low, _ci_high
            (bootstrap over classes); chance_percent (random keys against random memories).
    """
    rows, files = rows_of(attn, mlp)
    class_index = read_class_index(output)
    indices, images = np.unique(class_index, return_counts=True)
    rate, control = (100 * class_rates(files, name, class_index) for name in ("agreement", "agreement_random"))
    of_classes = rows.loc[rows.index.repeat(len(indices))].assign(
        class_index=np.tile(indices, len(rows)),
        images=np.tile(images, len(rows)),
        rate_percent=rate.T.ravel(),
        control_percent=control.T.ravel(),
    )
    write_table(of_classes, classes)
    means = rows.assign(classes=len(indices))
    for name, values in {"mean_percent": rate, "control_percent": control, "difference": rate - control}.items():
        means = means.assign(**mean_columns(values, resampling, name, f"{name}_"))
    write_table(means.assign(chance_percent=[100 * hit_chance(file) for file in files]), table)
