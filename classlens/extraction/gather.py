"""Put the shards of a model together, and take its blocks apart."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import h5py

from classlens.extraction.files import OUTPUT
from classlens.hdf5 import CHUNK_ROWS, Column, RowWriter, iterate_rows
from classlens.progress import Progress
from classlens.terms import block_name


def gather(shards: Sequence[str], layers: Sequence[str], output: str) -> None:
    """Write the layer files and the output file of all images in one pass over the shards.

    Their bytes do not depend on how images were split into shards. Memory holds a chunk of every file.

    Args:
        shards: files with equal data sets, in the order of their images.
        layers: files to write, one per block.
        output: file to write for the model's own output.

    Raises:
        ValueError: the shards' data sets differ.
    """
    layouts = [_layout(shard) for shard in shards]
    columns, attributes, _ = layouts[0]
    for shard, (other, facts, _) in zip(shards, layouts, strict=True):
        if other != columns or facts != attributes:
            raise ValueError(f"{shard} has other data sets than {shards[0]}")
    total = sum(rows for *_, rows in layouts)
    names = {block_name(block): (path, {"block": block}) for block, path in enumerate(layers)} | {OUTPUT: (output, {})}
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(total, "gathering"))
        writers = {
            group: stack.enter_context(RowWriter(path, total, _below(group, columns), {**attributes, **own}))
            for group, (path, own) in names.items()
        }
        for shard in shards:
            for rows in iterate_rows(shard, list(columns), CHUNK_ROWS):
                for group, writer in writers.items():
                    writer.append(_below(group, rows))
                progress.advance(len(next(iter(rows.values()))))


def _below(group: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of one group, by their names within it."""
    return {name.removeprefix(f"{group}/"): value for name, value in values.items() if name.startswith(f"{group}/")}


def _layout(path: str) -> tuple[dict[str, Column], dict[str, object], int]:
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
