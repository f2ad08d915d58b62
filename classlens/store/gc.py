"""Keep one's own folder of a store small and sound: verify every blob and its results, collect what nothing uses."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from classlens.digest import digest_file
from classlens.store.folder import Folder, Record
from classlens.store.lock import take
from classlens.store.place import clear_work
from classlens.store.placed import PlacedFiles
from classlens.store.store import Store
from classlens.store.workdir import free, set_aside

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


def sizes_and_ages(records: Iterator[tuple[Folder, Record]]) -> Iterator[tuple[Folder, Record, int, float]]:
    """Yield records with where they lie, their size in bytes and their age in days, oldest first."""
    now, found = time.time(), [(_stat(folder.action(record.key)), folder, record) for folder, record in records]
    aged = [((now - status.st_mtime) / DAY, folder, record) for status, folder, record in found if status]
    for age, folder, record in sorted(aged, key=lambda one: -one[0]):
        yield folder, record, sum(output.size for output in record.outputs), age


def verify(store: Store) -> list[Path]:
    """Read every blob of one's own again and take away those that are damaged.

    Returns:
        the damaged ones; jobs that need them compute again. `verify_results` is to follow.
    """
    damaged = []
    for blob in list(store.own.files("blobs")):
        with suppress(FileNotFoundError):  # another process took it
            if (found := digest_file(blob)) == blob.name:
                store.memory.remember(blob, found)
            else:
                damaged.append(blob)
                blob.unlink(missing_ok=True)
    return damaged


def verify_results(store: Store, damaged: Collection[Path]) -> dict[Path, bool]:
    """Read the results of the current working directory again, and those of one's others that show damaged blobs.

    What a run trusts by its time stamp is read here. A bad file is set aside, see `set_aside`, unless a run is under
    way in its directory. `damaged` is what `verify` took away; bad files are returned under their former names, with
    whether they were set aside.
    """
    lost = {blob.name for blob in damaged}
    here = store.placed()
    changed: dict[Path, bool] = {}
    for files in (here, *(other for _, other in _working_directories(store) if other.working != here.working)):
        if not files.working.is_dir() or files.working.stat().st_uid != os.getuid():
            continue  # whose owner decides where results/ leads
        bad = [
            path
            for path, placed in files.present().items()
            if (files is here or placed.digest in lost) and not _shows(files.working / path, store, placed.digest)
        ]
        if bad:
            with free(files.working) as is_free:
                moved = set_aside(store, files.working, bad) if is_free else []
            changed |= {files.working / path: files.working / path in moved for path in bad}
    return changed


def _working_directories(store: Store) -> Iterator[tuple[Path, PlacedFiles]]:
    """Yield where this user placed results, with the file that says so."""
    for file in sorted((store.own.path / "roots").glob("*")):
        working = Path(file.read_text(errors="replace").rstrip("\n"))
        if file.suffix:  # a list of the layout before, moved here: its first line names the directory
            with suppress(ValueError, TypeError, KeyError):
                working = Path(json.loads(str(working).partition("\n")[0])["working"])
        if working.is_absolute() and "\0" not in str(working):
            yield file, PlacedFiles(working, store.root)


def _shows(file: Path, store: Store, digest: str) -> bool:
    """Tell whether a file has a content; it is not read if it shares its bytes with a blob, which has been."""
    blob = store.own.blob(digest)
    return (blob.exists() and blob.samefile(file)) or digest_file(file) == digest


def collect(
    store: Store, *, older_than: float | None = None, larger_than: int | None = None, dry_run: bool = False
) -> Collected:
    """Take away of one's own folder what no working directory shows any more.

    Never taken: what lies in some working directory's results, and the record that made it; what a running job has not
    finished.

    Args:
        older_than: only records older than this many days; default: GRACE.
        larger_than: take the oldest until the rest is no larger than this many bytes.
        dry_run: take nothing, only count.
    """
    youngest = GRACE / DAY if older_than is None else older_than
    keys, digests = _in_use(store, forget=not dry_run)
    kept, doomed = [], []
    listed = list(sizes_and_ages((store.own, record) for record in store.own.records()))
    # Blobs are shared between records, so the size of the store is that of its distinct outputs.
    distinct = {output.digest: output.size for _, record, *_ in listed for output in record.outputs}
    excess = sum(distinct.values()) - larger_than if larger_than is not None else None
    for _, record, size, age in listed:
        used = record.key in keys or any(output.digest in digests for output in record.outputs)
        if used or age < youngest or (excess is not None and excess <= 0):
            kept.append(record)
        else:
            doomed.append(record)
            excess = excess - size if excess is not None else None
    needed = digests | {output.digest for record in kept for output in record.outputs}
    blobs = [blob for blob in store.own.files("blobs") if blob.name not in needed and _is_old(blob)]
    taken = Collected(len(doomed), len(blobs), sum(found.st_size for blob in blobs if (found := _stat(blob))))
    if not dry_run:
        for record in doomed:  # records first: a record must never name a blob that is gone
            store.own.action(record.key).unlink(missing_ok=True)
        for path in filter(_is_old, (*blobs, *store.own.unfinished())):  # a job may have come to need one meanwhile
            path.unlink(missing_ok=True)
        for lock in filter(_is_old, (store.own.path / "locks").glob("*.lock")):
            if (handle := take(lock)) is not None:  # who waits for it takes the next of its name
                lock.unlink(missing_ok=True)
                os.close(handle)
        clear_work(Path.cwd())
    return taken


def _in_use(store: Store, *, forget: bool) -> tuple[set[str], set[str]]:
    """Return keys and digests that some working directory shows; vanished directories are forgotten."""
    keys, digests = set(), set()
    for file, files in _working_directories(store):
        if not _may_be_there(files.working):
            if forget:
                file.unlink(missing_ok=True)
            continue
        if not _may_be_there(files.file):  # somebody deleted it; results tell by their links what they show
            digests |= {blob.name for blob in store.own.files("blobs") if blob.stat().st_nlink > 1}
        shown = [placed for path, placed in files.all().items() if _may_be_there(files.working / path)]
        keys |= {placed.key for placed in shown}
        digests |= {placed.digest for placed in shown}
    return keys, digests


def _may_be_there(path: Path) -> bool:
    """Tell whether a file is there; one that this user may not look at is taken as there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def _is_old(file: Path) -> bool:
    """Tell whether no running job can still be about to use what it wrote."""
    found = _stat(file)
    return found is not None and found.st_mtime < time.time() - GRACE


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.lstat()
    except FileNotFoundError:  # another process took it
        return None
