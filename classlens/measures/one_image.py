"""One image through the lens: what each of its tokens says after each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from classlens.arrays import Array
from classlens.csvfile import write_table
from classlens.h5 import h5py
from classlens.measures.identifiability import read_identifiability
from classlens.measures.layers import read_layout


def one_image(layers: Sequence[str], measures: str, output: str, table: str) -> None:
    """Write ranks and strongest classes of the image that is most like all others, see `typical`.

    Args:
        layers: the model's N x T layer files in block order.
        measures: see `classlens.measures.identifiability`.
        output: the model's output file, for the image's class.
        table: the table to write, a row per block and token. Columns: image, class_index, block, group (`cls`,
            `image`), token (of T), rank (of the correct class), identifiability (1 - rank / C), top_class (the
            strongest).
    """
    known, layout = read_identifiability(measures), read_layout(layers[0])
    image = typical(known.means, known.correct)
    with h5py.File(output) as file:
        class_index = int(file["class_index"][image])
    parts = []
    for block, layer in enumerate(layers):
        with h5py.File(layer) as file:
            ranks, top = file["residual/rank"][image].astype(int), file["residual/top5"][image][:, 0].astype(int)
        values = {"token": np.arange(layout.tokens), "rank": ranks}
        values |= {"identifiability": 1 - ranks / layout.num_classes, "top_class": top}
        for group, tokens in layout.groups.items():
            first = {"image": image, "class_index": class_index, "block": block, "group": group}
            parts.append(pd.DataFrame(first | {name: of_all[tokens] for name, of_all in values.items()}))
    write_table(pd.concat(parts, ignore_index=True), table)


def typical(means: Mapping[str, Array], correct: Array) -> int:
    """Return the image, of those that the model gets right, whose identifiability over depth is nearest to the mean.

    Args:
        means: (N, B) mean identifiability of each image's tokens, by group of tokens.
        correct: (N) whether the model is right; if it never is, all images are looked at.

    Returns:
        the image with the least sum of squared differences over groups and blocks; of equals, the first.
    """
    distance = sum(((values - values.mean(0)) ** 2).sum(1) for values in means.values())
    return int(np.argmin(np.where(correct | ~correct.any(), distance, np.inf)))
