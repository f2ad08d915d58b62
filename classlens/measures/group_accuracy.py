"""How right a model is in each group of images, and in the worst one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.columns import IMAGE
from classlens.csvfile import read_texts, write_table
from classlens.data.stimulus import class_names
from classlens.h5 import h5py
from classlens.statistics.groups import Groups, group_means, groups_of, interval, resampled_means, worst
from classlens.statistics.resampling import Resampling

COLUMNS = ["attribute", "what", "class_name", "carries", "images", "accuracy", "ci_low", "ci_high"]


def group_accuracy(output: str, stimuli: str, groups: str, table: str, resampling: Resampling) -> None:
    """Measure accuracy by group.

    Args:
        output: output file.
        stimuli: stimuli.csv, for the names of classes.
        groups: groups.csv, see `classlens.data.groups.write_groups`.
        table: the table to write. Columns: attribute; what (`group`: of a class with a value of the attribute; `worst`:
            of the group with the smallest accuracy among those with at least `groups.FEWEST` images; `all`: of all
            images; `gap`: all minus worst), class_name, carries (that value), images, accuracy (a fraction) with
            ci_low, ci_high (bootstrap over images within groups; the worst group is found anew in each resample).
        resampling: of images.
    """
    with h5py.File(output, "r") as file:
        correct, classes = file["correct"][:].astype(np.float64)[:, None], file["class_index"][:]
    carried, called = read_texts(groups), class_names(stimuli)
    rows = []
    for attribute in carried.columns.drop(IMAGE):
        of, names = groups_of(classes, carried[attribute].to_numpy(str))
        means = group_means(correct, of)
        found = _summarised(means, of)
        low, high = interval(_summarised(resampled_means(correct, of, resampling), of), resampling)
        place = int(np.flatnonzero(of.large)[means[of.large, 0].argmin()]) if of.large.any() else None
        whose = [(called[index], value) for index, value in names]
        known = whose[place] if place is not None else ("", "")
        told = [*(("group", *one) for one in whose), ("all", "", ""), ("worst", *known), ("gap", "", "")]
        images = [*of.sizes, len(of.of), of.sizes[place] if place is not None else 0, len(of.of)]
        for (what, class_name, value), count, *numbers in zip(told, images, found, low, high, strict=True):
            rows.append((attribute, what, class_name, value, count, *numbers))
    write_table(pd.DataFrame(rows, columns=COLUMNS), table)


def _summarised(means: Array, of: Groups) -> Array:
    """Return accuracies of groups, all images and the worst group, and the gap, (..., G + 3), of means (..., G, 1)."""
    groups, lowest = means[..., 0], worst(means, of)
    every = groups @ (of.sizes / len(of.of))[:, None]
    return np.concatenate([groups, every, lowest, every - lowest], -1)
