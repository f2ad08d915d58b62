"""Put the shards of a file together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py

from classlens.hdf5 import Column, RowWriter, iterate_rows


def gather(shards: Sequence[Path], destination: Path) -> None:
    """Write one file with the rows of all shards, in order.

    Its bytes are those that a single shard of all images would have; so one shard is simply copied, and the store,
    which knows contents, keeps it once.

    Args:
        shards: files with equal data sets, each with a row per image.
        destination: the file to write.

    Raises:
        ValueError: the shards' data sets differ.
    """
    if len(shards) == 1:
        shutil.copyfile(shards[0], destination)
        return
    layouts = [_layout(shard) for shard in shards]
    columns, attributes, _ = layouts[0]
    for shard, (other, facts, _) in zip(shards, layouts, strict=True):
        if other != columns or facts != attributes:
            raise ValueError(f"{shard} has other data sets than {shards[0]}")
    with RowWriter(destination, sum(rows for *_, rows in layouts), columns, attributes) as writer:
        for shard in shards:
            for rows in iterate_rows(shard, list(columns)):
                writer.append(rows)


def _layout(path: Path) -> tuple[dict[str, Column], dict[str, object], int]:
    """Return a file's columns in the order of their making, its attributes and its rows."""
    columns: dict[str, Column] = {}
    counts = set()
    with h5py.File(path) as file:

        def note(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                columns[name] = Column(
                    item.shape[1:], item.dtype, item.attrs["description"], item.attrs["unit"], bool(item.compression)
                )
                counts.add(len(item))

        file.visititems(note)
        attributes = {name: value.item() for name, value in file.attrs.items()}
    if len(counts) != 1:
        raise ValueError(f"{path}: data sets differ in length")
    return columns, attributes, counts.pop()
