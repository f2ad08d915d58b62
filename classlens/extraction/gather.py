"""Put the shards of a model together, and take its blocks apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
from joblib import Parallel, delayed

from classlens.batching import batches
from classlens.extraction.files import OUTPUT
from classlens.hdf5 import Column, RowWriter, chunk_rows_of, packed
from classlens.progress import Progress
from classlens.terms import block_name

SMALL = 2**28
"""Bytes below which starting processes takes longer than what they would do."""


def gather(shards: Sequence[str], layers: Sequence[str], output: str, *, threads: int = 1) -> None:
    """Write the layer files and the output file of all images, each in one pass over the shards.

    Their bytes do not depend on how images were split into shards. Packed chunks of shards are copied as they are
    where they line up. Memory holds a chunk of each file that is being written.

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
    layouts = [_layout(shard, group) for shard in shards]
    columns, attributes, _ = layouts[0]
    for shard, (other, facts, _) in zip(shards, layouts, strict=True):
        if other != columns or facts != attributes:
            raise ValueError(f"{shard} has other data sets than {shards[0]}")
    total = sum(rows for *_, rows in layouts)
    with RowWriter(path, total, columns, {**attributes, **own}, chunk_rows_of(columns)) as writer:
        for shard in shards:
            with h5py.File(shard) as file:
                _append(writer, file[group], list(columns))


def _append(writer: RowWriter, group: h5py.Group, names: Sequence[str]) -> None:
    """Add all rows of a shard: packed chunks where they line up with the file's, else their numbers."""
    datasets = {name: group[name] for name in names}
    for part in batches(len(datasets[names[0]]), datasets[names[0]].chunks[0]):
        if writer.takes_packed(part.stop - part.start, datasets):
            writer.append_packed(part.stop - part.start, {name: packed(datasets[name], part.start) for name in names})
        else:
            writer.append({name: datasets[name][part] for name in names})


def _layout(path: str, group: str) -> tuple[dict[str, Column], dict[str, object], int]:
    """Return a group's columns in the order of their making, the file's attributes and its rows."""
    columns: dict[str, Column] = {}
    counts = set()
    with h5py.File(path) as file:

        def note(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                columns[name] = Column(
                    item.shape[1:], item.dtype, item.attrs["description"], item.attrs["unit"], bool(item.compression)
                )
                counts.add(len(item))

        file[group].visititems(note)
        attributes = {name: value.item() for name, value in file.attrs.items()}
    if len(counts) != 1:
        raise ValueError(f"{path}: data sets differ in length")
    return columns, attributes, counts.pop()
