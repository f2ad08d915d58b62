"""Join files with a row per image, so that nothing shows that their images were in shards.

Keys of the store hold digests of inputs. So where the joined file has the bytes of one that was never in shards, what
reads it is not computed again when the size of shards changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from classlens.batching import batches
from classlens.h5 import h5py
from classlens.hdf5 import Column, RowWriter, packing
from classlens.progress import Progress


def join(shards: Sequence[str], rows: str) -> None:
    """Write the file of all of a model's images: its bytes are those of a file that was never in shards.

    Args:
        shards: files of `RowWriter` with its own number of rows per chunk, in the order of their images.
        rows: the file to write.

    Raises:
        ValueError: the shards' data sets or attributes differ.
    """
    columns, attributes, images = common_layout(shards)
    with Progress(images, "joining") as progress, RowWriter(rows, images, columns, attributes) as writer:
        append_rows(writer, shards, progress.advance)


def common_layout(shards: Sequence[str], group: str = "/") -> tuple[dict[str, Column], dict[str, Any], int]:
    """Return the columns of shards, the attributes of their files, and the rows that they have together.

    Args:
        shards: files with equal data sets.
        group: that the columns are in.

    Raises:
        ValueError: the shards' data sets or attributes differ.
    """
    layouts = [_layout(shard, group) for shard in shards]
    columns, attributes, _ = layouts[0]
    for shard, (other, facts, _) in zip(shards, layouts, strict=True):
        equal = facts.keys() == attributes.keys() and all(np.array_equal(facts[key], attributes[key]) for key in facts)
        if other != columns or not equal:
            raise ValueError(f"{shard} has other data sets than {shards[0]}")
    return columns, attributes, sum(rows for *_, rows in layouts)


def append_rows(
    writer: RowWriter, shards: Sequence[str], advance: Callable[[int], None] = lambda rows: None, group: str = "/"
) -> None:
    """Add all rows of shards in order. Memory holds a chunk of each column.

    Packed chunks are copied as they are where all of a shard's line up with the file's, else their numbers are.

    Args:
        writer: of a file with the shards' columns.
        shards: see `common_layout`.
        advance: told how many rows were added.
        group: that the columns are in.
    """
    for shard in shards:
        with h5py.File(shard) as file:
            found = file[group]
            datasets = {name: found[name] for name in writer.columns}
            take_packed = writer.takes_packed(datasets)
            opened = {name: dataset.id for name, dataset in datasets.items()}
            first = datasets[next(iter(datasets))]
            for part in batches(len(first), first.chunks[0]):
                if take_packed:
                    writer.append_packed(opened, part)
                else:
                    writer.append({name: values[part] for name, values in datasets.items()})
                advance(part.stop - part.start)


def _layout(path: str, group: str) -> tuple[dict[str, Column], dict[str, Any], int]:
    """Return a group's columns, the file's attributes and its rows."""
    columns: dict[str, Column] = {}
    counts = set()
    with h5py.File(path) as file:

        def note(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                columns[name] = Column(
                    item.shape[1:], item.dtype, item.attrs["description"], item.attrs["unit"], bool(packing(item))
                )
                counts.add(len(item))

        file[group].visititems(note)
        attributes = dict(file.attrs)
    if len(counts) != 1:
        raise ValueError(f"{path}: data sets differ in length")
    return columns, attributes, counts.pop()
