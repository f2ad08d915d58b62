"""Keep a store small and sound: verify every blob and its results, collect what nothing uses."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from classlens.digest import digest_file
from classlens.store.lock import take
from classlens.store.roots import Roots, noting
from classlens.store.store import Record, Store
from classlens.store.workdir import free, set_aside
from classlens.store.workspace import clear_work

DAY = 86_400.0
GRACE = 3600.0
"""Age in seconds from which a record or blob counts as unused: a running job may be about to show it."""


@dataclass(frozen=True)
class Collected:
    """What a collection took, or would take."""

    records: int
    blobs: int
    size: int
    """Bytes."""


def sizes_and_ages(store: Store) -> Iterator[tuple[Record, int, float]]:
    """Yield every record with its size in bytes and its age in days, oldest first."""
    records = list(store.records())
    aged = [(found.st_mtime, record) for record in records if (found := _stat(store.action(record.key)))]
    now = time.time()
    for made, record in sorted(aged, key=lambda pair: pair[0]):
        yield record, sum(output.size for output in record.outputs), (now - made) / DAY


def verify(store: Store) -> list[Path]:
    """Read every blob again and take away those that are damaged.

    Returns:
        the damaged ones; jobs that need them compute again. `verify_results` is to follow.
    """
    damaged = []
    for blob in list(store.files("blobs")):
        try:
            found = digest_file(blob)
        except FileNotFoundError:  # somebody else took it
            continue
        if found != blob.name:
            damaged.append(blob)
            store.remove(blob)
        else:
            store.memory.remember(blob, found)
    return damaged


def verify_results(store: Store, damaged: Collection[Path]) -> dict[Path, bool]:
    """Read the results of the current working directory again, and those of this user's others that show damaged blobs.

    What a run trusts by its time stamp is read here. A bad file is set aside, see `set_aside`, unless a run is under
    way in its directory.

    Args:
        damaged: what `verify` took away.

    Returns:
        the bad files, under their former names, and whether they were set aside.
    """
    lost = {blob.name for blob in damaged}
    own = store.roots()
    lists = [own, *(roots for roots in Roots.of_store(store.root / "roots") if _is_another_of_mine(roots, own))]
    changed: dict[Path, bool] = {}
    for roots in lists:
        present = {path: root for path, root in roots.all().items() if (roots.working / path).is_file()}
        bad = [
            path
            for path, root in present.items()
            if (roots is own or root.digest in lost) and not _shows(roots.working / path, store, root.digest)
        ]
        if bad:
            with free(roots.working) as is_free:
                moved = set_aside(store, roots.working, bad) if is_free else []
            changed |= {roots.working / path: roots.working / path in moved for path in bad}
    return changed


def _is_another_of_mine(roots: Roots, own: Roots) -> bool:
    """Tell whether a list is this user's, of a directory of this user; only its owner decides where results/ leads."""
    if roots.working == own.working or roots.gone() or not roots.trusted(own.working):
        return False
    return roots.working.stat().st_uid == os.getuid()


def _shows(file: Path, store: Store, digest: str) -> bool:
    """Tell whether a file has a content; it is not read if it shares its bytes with a blob, which has been."""
    blob = store.blob(digest)
    return (blob.exists() and blob.samefile(file)) or digest_file(file) == digest


def collect(
    store: Store, *, older_than: float | None = None, larger_than: int | None = None, dry_run: bool = False
) -> Collected:
    """Take away what no working directory shows any more.

    Never taken: what lies in some working directory's results, and the record that made it; what a running job has not
    finished.

    Args:
        older_than: only records older than this many days; default: GRACE.
        larger_than: take the oldest until the rest is no larger than this many bytes.
        dry_run: take nothing, only count.

    Returns:
        what was taken.
    """
    youngest = GRACE / DAY if older_than is None else older_than
    keys, digests = _in_use(store, forget=not dry_run)
    kept, doomed = [], []
    listed = list(sizes_and_ages(store))
    # Blobs are shared between records, so the size of the store is that of its distinct outputs.
    distinct = {output.digest: output.size for record, *_ in listed for output in record.outputs}
    excess = sum(distinct.values()) - larger_than if larger_than is not None else None
    for record, size, age in listed:
        used = record.key in keys or any(output.digest in digests for output in record.outputs)
        if used or age < youngest or (excess is not None and excess <= 0):
            kept.append(record)
        else:
            doomed.append(record)
            excess = excess - size if excess is not None else None
    needed = digests | {output.digest for record in kept for output in record.outputs}
    blobs = [blob for blob in store.files("blobs") if blob.name not in needed and _is_old(blob)]
    taken = Collected(len(doomed), len(blobs), sum(map(_size, blobs)))
    if not dry_run:
        for record in doomed:  # records first: a record must never name a blob that is gone
            store.remove(store.action(record.key))
        for blob in blobs:
            store.remove(blob)
        for leftover in filter(_is_old, store.leftovers()):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                store.remove(leftover)
        with noting(store.root):
            _remove_locks(store)
        clear_work(Path.cwd())
    return taken


def _remove_locks(store: Store) -> None:
    """Remove the files of locks that nobody holds; who waits for one of them takes the next of its name."""
    for lock in filter(_is_old, store.locks()):
        handle = take(lock)
        if handle is not None:
            store.remove(lock)
            os.close(handle)


def _in_use(store: Store, *, forget: bool) -> tuple[set[str], set[str]]:
    """Return keys and digests that some working directory shows; lists of vanished directories are dropped."""
    keys, digests = set(), set()
    for roots in Roots.of_store(store.root / "roots"):
        if roots.gone():
            if forget:
                with noting(store.root):
                    roots.forget()
            continue
        for root in roots.shown().values():
            keys.add(root.key)
            digests.add(root.digest)
    return keys, digests


def _is_old(file: Path) -> bool:
    """Tell whether no running job can still be about to use what it wrote."""
    found = _stat(file)
    return found is not None and found.st_mtime < time.time() - GRACE


def _size(file: Path) -> int:
    found = _stat(file)
    return found.st_size if found else 0


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.lstat()
    except FileNotFoundError:  # somebody else took it
        return None
