"""Put the shards of a model together, and take its blocks apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from classlens.extraction.files import OUTPUT
from classlens.hdf5 import RowWriter, chunk_rows_of
from classlens.joining import append_rows, common_layout
from classlens.progress import Progress
from classlens.terms import block_name

SMALL = 2**30
"""Bytes below which starting processes takes longer than what they would do: one copies a gigabyte in a second."""


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
    files = {block_name(block): (path, {"block": block}) for block, path in enumerate(layers)} | {OUTPUT: (output, {})}
    jobs = (delayed(_gather_file)(shards, group, path, own) for group, (path, own) in files.items())
    large = sum(Path(shard).stat().st_size for shard in shards) > SMALL
    with Progress(len(files), "gathering", "file") as progress:
        for _ in Parallel(n_jobs=min(threads, len(files)) if large else 1, return_as="generator")(jobs):
            progress.advance()


def _gather_file(shards: Sequence[str], group: str, path: str, own: Mapping[str, Any]) -> None:
    """Write one group of all shards to a file of its own."""
    columns, attributes, rows = common_layout(shards, group)
    with RowWriter(path, rows, columns, {**attributes, **own}, chunk_rows_of(columns)) as writer:
        append_rows(writer, shards, group=group)
