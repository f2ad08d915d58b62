"""Which classes chosen memories promote most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from classlens.csvfile import write_table
from classlens.data.stimulus import class_names
from classlens.errors import InputError
from classlens.measures.memory_parameters import Memories, read_class_values, read_memories
from classlens.models.head import read_head
from classlens.terms import BRANCHES

Chosen = Mapping[str, Any]
"""branch, block, memory."""


def value_vectors(
    parameters: str, stimuli: str, head: Sequence[str], table: str, value_vectors: Sequence[Chosen] | None = None
) -> None:
    """List the five classes that each chosen memory promotes most.

    Args:
        parameters: the model's projected memories.
        stimuli: stimuli.csv of its data set, for the names of classes.
        head: the user's own head, whose class names count first, as a list of one; an empty list where there is none.
        table: the table to write, a row per memory and class. Columns: branch, block (from 0), memory (from 0), place
            (1 is the most promoted), class_index, class_name (empty where neither source knows it), score (W[c] . v,
            logits).
        value_vectors: memories as {branch, block, memory}; None takes from every branch and block the one with the
            largest score.

    Raises:
        InputError: the model has no such memory.
    """
    own = read_head(head[0]).class_names if head else None
    names = class_names(stimuli) | dict(enumerate(own or ()))
    counts = read_class_values(parameters).memories
    given = None if value_vectors is None else [_checked(item, counts) for item in value_vectors]
    wanted = _largest(parameters, counts) if given is None else given
    read = {place: _read(parameters, *place) for place in {item[:2] for item in wanted}}
    rows = [
        (branch, block, memory, place + 1, int(index), names.get(int(index), ""), score)
        for branch, block, memory in wanted
        for place, (index, score) in enumerate(
            zip(read[branch, block].top_classes[memory], read[branch, block].top_scores[memory], strict=True)
        )
    ]
    columns = ["branch", "block", "memory", "place", "class_index", "class_name", "score"]
    write_table(pd.DataFrame(rows, columns=columns), table)


def _largest(parameters: str, counts: Mapping[str, Sequence[int]]) -> list[tuple[str, int, int]]:
    return [
        (branch, block, int(np.argmax(_read(parameters, branch, block).top_scores[:, 0])))
        for branch in BRANCHES
        for block in range(len(counts[branch]))
    ]


def _checked(item: Chosen, counts: Mapping[str, Sequence[int]]) -> tuple[str, int, int]:
    branch, block, memory = item["branch"], item["block"], item["memory"]
    sizes = counts.get(branch)
    if sizes is None:
        raise InputError(f"value vectors: there is no branch {branch!r}; take one of {', '.join(BRANCHES)}")
    if not 0 <= block < len(sizes):
        raise InputError(f"value vectors: there is no block {block}; the model has 0 to {len(sizes) - 1}")
    if not 0 <= memory < sizes[block]:
        raise InputError(
            f"value vectors: {branch} of block {block} has no memory {memory}; it has 0 to {sizes[block] - 1}"
        )
    return branch, block, memory


def _read(parameters: str, branch: str, block: int) -> Memories:
    return read_memories(parameters, branch, block)["head"]
