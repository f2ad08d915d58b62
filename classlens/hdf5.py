"""HDF5 files whose bytes depend on nothing but the numbers in them.

Rows (images) arrive in batches of any size, and a file is written in whole chunks, in a fixed order; so the
bytes do not depend on the batch size or on the threads that pack, and memory is bounded by a chunk.

Chunks are packed here and stored as they are, since HDF5's own filters work on one thread. The format is Blosc's with
LZ4 and a shuffle of bits, HDF5's filter 32001; hdf5plugin has it for programs that read, see `classlens.h5`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import hdf5plugin
import numpy as np
import numpy.typing as npt

from classlens.arrays import Array
from classlens.batching import batches
from classlens.h5 import h5py

CHUNK_ROWS = 64
"""Images in one chunk of a per-image data set, unless its rows are small."""
CHUNK_BYTES, MOST_CHUNK_ROWS = 2**18, 512
"""What the largest chunk of a file with small rows may hold: each chunk costs some 50 us beside its bytes."""
PACKED_AT_A_TIME = 8
"""Columns that a thread packs before it takes the next: handing over each by itself would take a tenth of the time."""
PACKING_LEVEL = 5
"""Of Blosc; what further levels save is below a hundredth."""


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


def chunk_rows_of(columns: Mapping[str, Column]) -> int:
    """Return the rows of a chunk: `CHUNK_ROWS`, doubled while the largest column's chunk keeps within `CHUNK_BYTES`."""
    largest = max(np.dtype(column.dtype).itemsize * math.prod(column.shape) for column in columns.values())
    rows = CHUNK_ROWS
    while 2 * rows * largest <= CHUNK_BYTES and rows < MOST_CHUNK_ROWS:
        rows *= 2
    return rows


def pack(rows: Array) -> bytes:
    """Pack a contiguous chunk as Blosc does: the first bits of all numbers, the second bits, ..., then LZ4.

    A chunk is one block: several may be shared out among Blosc's own threads, and lie in the order in which these end.
    """
    from numcodecs import blosc  # takes a while, and readers do without

    packed: bytes = blosc.compress(rows, b"lz4", PACKING_LEVEL, blosc.BITSHUFFLE, rows.nbytes)
    return packed


class RowWriter:
    """Write data sets that share their first axis, a batch of rows at a time.

    Args:
        path: the file to create.
        rows: how many rows the finished file has.
        columns: data sets by name; a name may have groups ("residual/rank").
        attributes: facts about the whole file.
        chunk_rows: rows per chunk, at most.
        threads: that pack.

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
        threads: int = 1,
    ) -> None:
        self._rows, self._written = rows, 0
        # Sorted, because the order in which data sets are made shows in the file's bytes.
        self.columns = dict(sorted(columns.items()))
        """In the order of the file."""
        self._chunk_rows = max(1, min(chunk_rows, rows))
        self._pending: deque[Mapping[str, Array]] = deque()
        self._pending_rows = 0
        names = list(self.columns)
        self._packed_together = [names[part] for part in batches(len(names), PACKED_AT_A_TIME)]
        self._corner = {name: (0,) * len(column.shape) for name, column in columns.items()}
        self._pool = ThreadPoolExecutor(threads)
        # h5py notes no times in a file unless it is asked to; they would show in its bytes.
        self._file = h5py.File(path, "w")
        self._datasets: dict[str, h5py.h5d.DatasetID] = {}
        self._chunking: dict[str, tuple[Any, ...]] = {}
        self._file.attrs.update(sorted((attributes or {}).items()))
        for name, column in self.columns.items():
            packed = hdf5plugin.Blosc("lz4", PACKING_LEVEL, hdf5plugin.Blosc.BITSHUFFLE)
            dataset = self._file.create_dataset(
                name,
                shape=(rows, *column.shape),
                dtype=column.dtype,
                chunks=(self._chunk_rows, *column.shape),
                **(packed if column.compress else {}),
            )
            describe(dataset, column.description, column.unit)
            self._datasets[name], self._chunking[name] = dataset.id, (dataset.chunks, packing(dataset))

    def append(self, batch: Mapping[str, Array]) -> None:
        """Add rows: for every column an array (rows, *shape)."""
        sizes = {len(batch[name]) for name in self.columns}
        if len(sizes) != 1:
            raise ValueError(f"columns of one batch differ in length: {sorted(sizes)}")
        for name, column in self.columns.items():
            if batch[name].shape[1:] != column.shape:
                raise ValueError(f"{name} has rows of shape {batch[name].shape[1:]} instead of {column.shape}")
        came = self._written + self._pending_rows + max(sizes)
        if came > self._rows:
            raise ValueError(f"{self._rows} rows were promised, {came} came")
        self._pending.append({name: batch[name] for name in self.columns})
        self._pending_rows += sizes.pop()
        while self._pending_rows >= self._chunk_rows:
            self._flush()

    def takes_packed(self, datasets: Mapping[str, h5py.Dataset]) -> bool:
        """Tell whether all rows of other data sets can be copied next as they are packed: in chunks that line up.

        Args:
            datasets: of another file of this module, for every column.
        """
        rows = {len(dataset) for dataset in datasets.values()}.pop()
        whole = rows % self._chunk_rows == 0 or self._written + rows == self._rows
        equal = all((other.chunks, packing(other)) == self._chunking[name] for name, other in datasets.items())
        return equal and whole and not self._pending_rows

    def append_packed(self, datasets: Mapping[str, h5py.h5d.DatasetID], part: slice) -> None:
        """Add rows of other data sets that are a chunk there, as it is packed; see `takes_packed`."""
        for name in self.columns:
            self._store(name, datasets[name].read_direct_chunk((part.start, *self._corner[name]))[1])
        self._written += part.stop - part.start

    def _flush(self) -> None:
        """Pack and write a chunk of each column, from what is pending; the file's last one may have fewer rows."""
        pieces = self._take()
        stored = self._pool.map(lambda names: self._stored(names, pieces), self._packed_together)
        # Chunk by chunk, not column by column: the order in which chunks are made shows in the file's bytes.
        for names, chunks in zip(self._packed_together, stored, strict=True):
            for name, chunk in zip(names, chunks, strict=True):
                self._store(name, chunk)
        self._written += sum(len(piece[names[0]]) for piece in pieces)

    def _take(self) -> list[Mapping[str, Array]]:
        """Take the rows of a chunk, or as many as there are, out of what is pending: pieces of batches."""
        pieces: list[Mapping[str, Array]] = []
        missing = min(self._chunk_rows, self._pending_rows)
        self._pending_rows -= missing
        while missing:
            batch = self._pending.popleft()
            rows = len(next(iter(batch.values())))
            if rows > missing:
                self._pending.appendleft({name: values[missing:] for name, values in batch.items()})
                batch = {name: values[:missing] for name, values in batch.items()}
            pieces.append(batch)
            missing -= min(rows, missing)
        return pieces

    def _stored(self, names: Sequence[str], pieces: Sequence[Mapping[str, Array]]) -> list[bytes | Array]:
        """Return chunks as they are stored; one that is not full is filled up with zeros, as HDF5 does."""
        missing = self._chunk_rows - sum(len(piece[names[0]]) for piece in pieces)
        stored: list[bytes | Array] = []
        for name in names:
            column = self.columns[name]
            parts = [piece[name] for piece in pieces]
            if missing:
                parts.append(np.zeros((missing, *column.shape), column.dtype))
            chunk = parts[0] if len(parts) == 1 else np.concatenate(parts, dtype=column.dtype, casting="unsafe")
            chunk = np.ascontiguousarray(chunk, column.dtype)
            stored.append(pack(chunk) if column.compress else chunk)
        return stored

    def _store(self, name: str, chunk: bytes | Array) -> None:
        self._datasets[name].write_direct_chunk((self._written, *self._corner[name]), chunk)

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
                    self._flush()
                if self._written != self._rows:
                    raise ValueError(f"{self._rows} rows were promised, {self._written} came")
        finally:
            self._pool.shutdown()
            self._file.close()


def describe(dataset: Any, description: str, unit: str = "1") -> None:
    """Say in attributes what a data set holds and in which unit."""
    dataset.attrs["description"] = description
    dataset.attrs["unit"] = unit


def write_described(file: h5py.File, datasets: Mapping[str, tuple[Array, str]]) -> None:
    """Write data sets as they are, each with a description."""
    for name, (values, text) in datasets.items():
        describe(file.create_dataset(name, data=values), text)


def packing(dataset: h5py.Dataset) -> list[tuple[Any, ...]]:
    """Return how the chunks of a data set are packed: HDF5's filters with their options, none where they are not."""
    made = dataset.id.get_create_plist()
    return [made.get_filter(number) for number in range(made.get_nfilters())]


def iterate_rows(path: Path | str, names: Sequence[str], rows: int = 8 * CHUNK_ROWS) -> Iterator[dict[str, Array]]:
    """Yield the named data sets of a file, at most `rows` rows at a time."""
    with h5py.File(path, "r") as file:
        for part in batches(len(file[names[0]]), rows):
            yield {name: file[name][part] for name in names}
