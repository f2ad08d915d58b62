"""Cut long work into batches."""

from __future__ import annotations

from collections.abc import Iterator


def batches(total: int, size: int) -> Iterator[slice]:
    """Yield the slices that cut `range(total)` into runs of at most `size`."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
