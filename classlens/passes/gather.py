"""Put the shards of a model together, and take its blocks apart."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from classlens.extraction.files import OUTPUT
from classlens.hdf5 import RowWriter, chunk_rows_of
from classlens.joining import append_rows, common_layout
from classlens.progress import Progress
from classlens.terms import block_name

SMALL = 2**26
"""Bytes below which starting processes takes longer than what they would do: one copies a gigabyte in a second."""
START = "fork" if sys.platform == "linux" else None
"""How processes start: what forks need not import anything again."""


def gather(shards: Sequence[str], layers: Sequence[str], output: str, *, threads: int = 1) -> None:
    """Write the layer files and the output file of all images, each in one pass over the shards.

    Their bytes do not depend on how images were split into shards. Memory holds a chunk of each file that is being
    written.

    Args:
        shards: files with equal data sets, in the order of their images.
        layers: files to write, one per block.
        output: file to write for the model's own output.
        threads: files written at a time, each by a process of its own, since HDF5 works on one thread.

    Raises:
        ValueError: the shards' data sets differ.
    """
    groups = [*(block_name(block) for block in range(len(layers))), OUTPUT]
    own = [*({"block": block} for block in range(len(layers))), {}]
    alone = threads == 1 or sum(Path(shard).stat().st_size for shard in shards) <= SMALL
    context = multiprocessing.get_context(START)
    with (
        Progress(len(groups), "gathering", "file") as progress,
        nullcontext() if alone else ProcessPoolExecutor(min(threads, len(groups)), context) as pool,
    ):
        spread = map if pool is None else pool.map
        for _ in spread(partial(_gather_file, shards), groups, [*layers, output], own):
            progress.advance()


def _gather_file(shards: Sequence[str], group: str, path: str, own: Mapping[str, Any]) -> None:
    """Write one group of all shards to a file of its own."""
    columns, attributes, rows = common_layout(shards, group)
    with RowWriter(path, rows, columns, {**attributes, **own}, chunk_rows_of(columns)) as writer:
        append_rows(writer, shards, group=group)
