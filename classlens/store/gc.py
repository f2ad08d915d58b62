"""Collect what nothing uses from one's own folder of a store."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from classlens.store.folder import UNFINISHED, Folder, Record
from classlens.store.lock import take
from classlens.store.store import Store
from classlens.store.workdir import PlacedFiles, clear_work

DAY = 86_400.0
GRACE = 3600.0
"""Age in seconds from which a record or blob counts as unused: a running job may be about to show it."""


@dataclass(frozen=True)
class Collected:
    """What a collection took, or would take; the size is in bytes."""

    records: int
    blobs: int
    size: int


def sizes_and_ages(records: Iterator[tuple[Folder, Record]]) -> Iterator[tuple[Folder, Record, int, float]]:
    """Yield records with where they lie, their size in bytes and their age in days, oldest first."""
    now, found = time.time(), [(_stat(folder.action(record.key)), folder, record) for folder, record in records]
    aged = [((now - status.st_mtime) / DAY, folder, record) for status, folder, record in found if status]
    for age, folder, record in sorted(aged, key=lambda one: -one[0]):
        yield folder, record, sum(output.size for output in record.outputs), age


def collect(
    store: Store, *, older_than: float | None = None, larger_than: int | None = None, dry_run: bool = False
) -> Collected:
    """Delete from one's own folder what no working directory shows any more and no running job may be about to show.

    Args:
        older_than: only records older than this many days; default: GRACE.
        larger_than: take the oldest until the rest is no larger than this many bytes.
        dry_run: take nothing, only count.
    """
    youngest = GRACE / DAY if older_than is None else older_than
    needed = _shown(store, forget=not dry_run)
    listed = list(sizes_and_ages((store.own, record) for record in store.own.records()))
    # Blobs are shared between records, so the size of the store is that of its distinct outputs.
    total = sum({output.digest: output.size for _, record, *_ in listed for output in record.outputs}.values())
    excess = math.inf if larger_than is None else total - larger_than
    doomed: list[Record] = []
    kept: set[str] = set()
    for _, record, size, age in listed:
        own = {output.digest for output in record.outputs}
        if own & needed or age < youngest or excess <= 0:
            kept |= own
        else:
            doomed.append(record)
            excess -= size
    blobs = [blob for blob in store.own.files("blobs") if blob.name not in needed | kept and _is_old(blob)]
    taken = Collected(len(doomed), len(blobs), sum(found.st_size for blob in blobs if (found := _stat(blob))))
    if not dry_run:
        for record in doomed:  # records first: a record must never name a blob that is gone
            store.own.action(record.key).unlink(missing_ok=True)
        for path in filter(_is_old, (*blobs, *store.own.path.glob(f"*/??/{UNFINISHED}*"))):  # one may be needed by now
            path.unlink(missing_ok=True)
        for lock in filter(_is_old, (store.own.path / "locks").glob("*.lock")):
            if (handle := take(lock)) is not None:  # who waits for it takes the next of its name
                lock.unlink(missing_ok=True)
                os.close(handle)
        clear_work()
    return taken


def _shown(store: Store, *, forget: bool) -> set[str]:
    """Return the digests that some working directory shows; vanished directories are forgotten."""
    # Links tell it, also where a list was deleted, or moved with its directory.
    digests = {blob.name for blob in store.own.files("blobs") if (found := _stat(blob)) and found.st_nlink > 1}
    for root in (store.own.path / "roots").glob("*"):
        working = Path(root.read_text(errors="replace").rstrip("\n").replace("\0", ""))
        if _may_be_there(working):
            placed = PlacedFiles(working, store.root).all()
            digests |= {one.digest for path, one in placed.items() if _may_be_there(working / path)}
        elif forget:
            root.unlink(missing_ok=True)
    return digests


def _may_be_there(path: Path) -> bool:
    """Tell whether a file is there; one that this user may not look at is taken as there."""
    try:
        path.stat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


def _is_old(file: Path) -> bool:
    """Tell whether no running job can still be about to use what it wrote."""
    found = _stat(file)
    return found is not None and found.st_mtime < time.time() - GRACE


def _stat(file: Path) -> os.stat_result | None:
    with suppress(FileNotFoundError):  # another process took it
        return file.lstat()
    return None
