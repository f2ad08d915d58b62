"""The values of one column of a Parquet file, read forward."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from classlens.errors import InputError

ROWS = 8
"""Values that are unpacked at a time."""
KEPT = 8
"""Batches that are kept, since threads ask for neighbours in any order."""
BUFFER = 2**20
"""Bytes that are read at a time, where a page is not larger; without it, a whole row group would be."""
BROKEN = (pyarrow.ArrowException, OSError, ValueError)
"""What pyarrow raises for files that it cannot read."""


def open_parquet(path: Path) -> Any:
    """Open a file of this machine, whatever its name looks like.

    Raises:
        InputError: it is no Parquet file.
    """
    try:
        return pyarrow.parquet.ParquetFile(pyarrow.OSFile(str(path)), buffer_size=BUFFER)
    except BROKEN as error:
        raise InputError(f"{path} is no Parquet file, or is cut off ({error}); restore it") from error


class ParquetRows:
    """Values by row. Parquet packs rows in pages, and pages in groups that are found by number: to reach a row, all
    rows before it in its group are unpacked. So neighbours cost little, and a row at random costs half a group.

    Not for threads at the same time. Memory holds a page and `ROWS` times `KEPT` values.

    Args:
        path: the file.
        column: its full name, such as `image.bytes`.
        groups: rows of each row group.

    Raises:
        InputError: it is no Parquet file.
    """

    def __init__(self, path: Path, column: str, groups: Sequence[int]) -> None:
        self._path, self._column, self._file = path, column, open_parquet(path)
        self._starts = list(accumulate(groups, initial=0))
        self._kept: deque[tuple[int, Any]] = deque(maxlen=KEPT)
        self._coming: Iterator[Any] = iter(())
        self._next = self._starts[-1]
        """The row that comes next; none at first."""

    def value(self, row: int) -> bytes | None:
        """Return a row's value, None where it is null.

        Raises:
            InputError: the file is damaged.
        """
        try:
            while (found := next((kept for kept in self._kept if 0 <= row - kept[0] < len(kept[1])), None)) is None:
                self._step(row)
            first, values = found
            value: bytes | None = values[row - first].as_py()
        except (*BROKEN, StopIteration) as error:
            raise InputError(f"{self._path}: row {row:,} cannot be read ({error}); restore the file") from error
        return value

    def _step(self, row: int) -> None:
        """Unpack the next values on the way to a row."""
        group, ahead = self._group(row), row - self._next
        # A thread that asks for the first row of a group may come before the one that asks for the last row before it.
        if ahead < 0 or (ahead >= ROWS * KEPT and group > self._group(self._next)):
            rest = list(range(group, len(self._starts) - 1))
            self._coming = self._file.iter_batches(ROWS, row_groups=rest, columns=[self._column], use_threads=False)
            self._next = self._starts[group]
        [values] = next(self._coming).columns
        if pyarrow.types.is_struct(values.type):
            [values] = values.flatten()
        self._kept.append((self._next, values))
        self._next += len(values)

    def _group(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1
