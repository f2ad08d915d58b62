"""HDF5 files whose bytes depend on nothing but the numbers in them.

Rows (images) arrive in batches of any size, and a file is written in whole chunks, in a fixed order; so the
bytes do not depend on the batch size, and memory is bounded by a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from classlens.arrays import Array
from classlens.batching import batches

CHUNK_ROWS = 64
"""Images in one chunk of every per-image data set."""


@dataclass(frozen=True)
class Column:
    """One data set with a row per image."""

    shape: tuple[int, ...]
    """Shape of one row."""
    dtype: npt.DTypeLike
    description: str
    unit: str = "1"
    compress: bool = True


def index_dtype(count: int) -> np.dtype[Any]:
    """Return the type that holds indices below `count`: uint16, or int32 where they do not fit."""
    return np.dtype(np.uint16 if count <= 2**16 else np.int32)


class RowWriter:
    """Write data sets that share their first axis, a batch of rows at a time.

    Args:
        path: the file to create.
        rows: how many rows the finished file has.
        columns: data sets by name; a name may have groups ("residual/rank").
        attributes: facts about the whole file.

    Raises:
        ValueError: on more rows than promised, and on leaving the context normally with fewer.
    """

    def __init__(
        self,
        path: Path | str,
        rows: int,
        columns: Mapping[str, Column],
        attributes: Mapping[str, Any] | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self._rows, self._written = rows, 0
        # Sorted, because the order in which data sets are made shows in the file's bytes.
        self._columns = dict(sorted(columns.items()))
        self._chunk_rows = max(1, min(chunk_rows, rows))
        self._pending: dict[str, list[Array]] = {name: [] for name in columns}
        self._pending_rows = 0
        self._file = h5py.File(path, "w")
        self._file.attrs.update(sorted((attributes or {}).items()))
        for name, column in self._columns.items():
            packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            dataset = self._file.create_dataset(
                name,
                shape=(rows, *column.shape),
                dtype=column.dtype,
                chunks=(self._chunk_rows, *column.shape),
                **(packing if column.compress else {}),
            )
            describe(dataset, column.description, column.unit)

    def append(self, batch: Mapping[str, Array]) -> None:
        """Add rows: for every column an array (rows, *shape)."""
        sizes = {len(batch[name]) for name in self._columns}
        if len(sizes) != 1:
            raise ValueError(f"columns of one batch differ in length: {sorted(sizes)}")
        came = self._written + self._pending_rows + max(sizes)
        if came > self._rows:
            raise ValueError(f"{self._rows} rows were promised, {came} came")
        for name in self._columns:
            self._pending[name].append(batch[name])
        self._pending_rows += sizes.pop()
        if self._pending_rows >= self._chunk_rows:
            self._flush(self._pending_rows - self._pending_rows % self._chunk_rows)

    def _flush(self, rows: int) -> None:
        pending = {name: np.concatenate(self._pending[name]) for name in self._columns}
        # Chunk by chunk, not column by column: the order in which chunks are made shows in the file's bytes.
        for part in batches(rows, self._chunk_rows):
            for name, values in pending.items():
                self._file[name][self._written + part.start : self._written + part.stop] = values[part]
        self._pending = {name: [values[rows:]] for name, values in pending.items()}
        self._written += rows
        self._pending_rows -= rows

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self._pending_rows:
                    self._flush(self._pending_rows)
                if self._written != self._rows:
                    raise ValueError(f"{self._rows} rows were promised, {self._written} came")
        finally:
            self._file.close()


def describe(dataset: Any, description: str, unit: str = "1") -> None:
    """Say in attributes what a data set holds and in which unit."""
    dataset.attrs["description"] = description
    dataset.attrs["unit"] = unit


def iterate_rows(path: Path | str, names: Sequence[str], rows: int = 8 * CHUNK_ROWS) -> Iterator[dict[str, Array]]:
    """Yield the named data sets of a file, at most `rows` rows at a time."""
    with h5py.File(path, "r") as file:
        for part in batches(len(file[names[0]]), rows):
            yield {name: file[name][part] for name in names}
