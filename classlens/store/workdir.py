"""Look over a working directory's files from the store: what was changed or damaged is told, and set aside by a run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from classlens.cache import CACHE
from classlens.digest import digest_file
from classlens.store.disk_errors import DENIED, explained_disk_errors
from classlens.store.lock import POLL_SECONDS, WORDLESS_SECONDS, take
from classlens.store.place import clear_work, prepared, put
from classlens.store.placed import Placed
from classlens.store.store import Store, going_on_if_denied

CHANGED_SUFFIX = ".changed"
LOOK_VARIABLE = "CLASSLENS_LOOK"
"""Environment variable: where it is set, a dry run links nothing."""
LOCK = CACHE / "run.lock"
SNAKEMAKE_S_LOCKS = Path(".snakemake/locks")

_held: dict[Path, int] = {}
"""Working directories that this process holds until it ends."""

log = logging.getLogger(__name__)


def hold(working: Path) -> bool:
    """Hold a working directory until this process ends: no other run sets its files aside or replaces them beforehand.

    Snakemake takes its own lock only when it has planned, which is after stored results are placed, and does not lose
    it when it is killed. Returns False where another run holds it, or Snakemake's lock lies there.
    """
    if working in _held:
        return True
    (working / CACHE).mkdir(parents=True, exist_ok=True)
    began, said = time.monotonic(), False
    while (handle := take(working / LOCK)) is None:
        look = take(working / LOCK, shared=True)
        if look is None:
            return False
        os.close(look)  # a dry run has it, for as long as it links what is stored
        if not said and time.monotonic() - began > WORDLESS_SECONDS:
            said = True
            log.warning("waiting for a dry run in %s", working)
        time.sleep(POLL_SECONDS)
    if _is_locked_by_snakemake(working):
        os.close(handle)
        return False
    _held[working] = handle
    return True


@contextmanager
def free(working: Path, *, shared: bool = False) -> Iterator[bool]:
    """Hold a working directory for an instant, without waiting; give False where a run holds it.

    Looks do so `shared`: several at once.
    """
    if working in _held:
        yield True
        return
    handle = None
    try:
        (working / CACHE).mkdir(parents=True, exist_ok=True)
        handle = take(working / LOCK, shared=shared)
    except OSError as error:  # a folder that may only be read
        if error.errno not in DENIED:
            raise
    try:
        yield handle is not None and not _is_locked_by_snakemake(working)
    finally:
        if handle is not None:
            os.close(handle)


def _is_locked_by_snakemake(working: Path) -> bool:
    return any((working / SNAKEMAKE_S_LOCKS).glob("*.lock"))


def changed_results(root: Path, working: Path) -> list[Path]:
    """Return the files in a working directory with another content than the store gave them; nothing is changed.

    Unchanged ones cost one look at their time stamps. `root` is the store's folder.
    """
    with explained_disk_errors(root):
        return [working / path for path in _changed(Store(root, looks=True), working)] if root.exists() else []


def verify_workdir(root: Path, working: Path) -> list[Path]:
    """Set aside what was changed in a working directory that this process holds (`hold`), before it runs.

    A file with another content than the store gave it (edited, cut off, overwritten) would be taken for a result. It is
    moved to NAME.changed, so that an edit is not lost, and its content comes back from the store. Where the file shared
    its bytes with the store, the blob is damaged too and goes. So do the files that were made from this one, or a
    scheduler would find the work complete; making them anew takes the damaged one's job alone.
    Returned are the files that were set aside, under their former names.
    """
    with explained_disk_errors(root):
        store = Store(root)
        store.require_locks()
        files = store.placed(working)
        with files.held():
            files.compact()
        if files.file.exists():  # it may have been moved here
            with going_on_if_denied(root):
                store.note_working_directory(files.working)
        changed = set_aside(store, working, _changed(store, working))
        clear_work(working)
        return changed


def _changed(store: Store, working: Path) -> list[str]:
    while True:
        present = store.placed(working).present()
        with suppress(FileNotFoundError):  # a run beside this look took one away
            found = store.memory.digests([working / path for path in present], linked=True)
            break
    return [path for (path, placed), digest in zip(present.items(), found, strict=True) if digest != placed.digest]


def set_aside(store: Store, working: Path, suspects: Iterable[str]) -> list[Path]:
    """Move changed results to NAME.changed, bring back their content from the store, and return their former names.

    Each suspect is looked at again while the list is held: a job may have placed another result meanwhile, and listed
    it. Where the store has lost a content, the files that were made from it go, too, so that a scheduler makes all of
    them anew.
    """
    files = store.placed(working)
    changed, lost = [], set()
    for path in suspects:
        file = working / path
        with files.held():
            placed = files.present()
            if path not in placed or digest_file(file) == placed[path].digest:
                continue
            log.warning("%s was changed since it was made: set aside as %s%s", file, file.name, CHANGED_SUFFIX)
            changed.append(file)
            os.replace(file, f"{file}{CHANGED_SUFFIX}")
            record, digest = store.find(placed[path].key), placed[path].digest
            size = next((one.size for one in record.outputs if one.digest == digest), 0) if record else 0
            with suppress(FileNotFoundError):
                if (holder := store.holder(digest, size)) is not None:
                    with prepared(holder, digest, file, store.memory, working) as new:
                        put(new, file, store.memory, digest)
                    continue
            lost.add(path)
    for path in _made_from(lost, files.present(), store):
        (working / path).unlink(missing_ok=True)
    return changed


def _made_from(lost: set[str], present: Mapping[str, Placed], store: Store) -> set[str]:
    """Return the files that were made from lost ones, directly or through others."""
    if not lost:
        return set()
    records = {path: store.find(placed.key) for path, placed in present.items()}
    sources = {path: set(chain(*record.sources.values())) for path, record in records.items() if record}
    found, reached = set(), lost
    while reached := {path for path, own in sources.items() if own & reached and path not in found}:
        found |= reached
    return found - lost
