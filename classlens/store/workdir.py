"""Look over a working directory's files from the store: what was changed or damaged is told, and set aside by a run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from classlens.cache import CACHE
from classlens.digest import digest_file
from classlens.store.lock import POLL_SECONDS, WORDLESS_SECONDS, take
from classlens.store.place import prepared, put
from classlens.store.refusals import explained_refusals
from classlens.store.roots import Root, Roots, noting
from classlens.store.store import Store
from classlens.store.workspace import clear_work

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
    it when it is killed.

    Returns:
        False where another run holds it, or Snakemake's lock lies there.

    Raises:
        InputError: its file system grants no locks.
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

    Args:
        working: the working directory.
        shared: as looks do, which others may do at once.
    """
    if working in _held:
        yield True
        return
    handle = None
    with suppress(PermissionError):  # a folder that may only be read
        (working / CACHE).mkdir(parents=True, exist_ok=True)
        handle = take(working / LOCK, shared=shared)
    try:
        yield handle is not None and not _is_locked_by_snakemake(working)
    finally:
        if handle is not None:
            os.close(handle)


def _is_locked_by_snakemake(working: Path) -> bool:
    return any((working / SNAKEMAKE_S_LOCKS).glob("*.lock"))


def changed_results(root: Path, working: Path) -> list[Path]:
    """Return the files in a working directory with another content than the store gave them; nothing is changed.

    Unchanged ones cost one look at their time stamps.

    Args:
        root: the store's folder.
        working: the working directory.
    """
    with explained_refusals(root):
        return [working / path for path in _changed(Store(root), working)] if root.exists() else []


def verify_workdir(root: Path, working: Path) -> list[Path]:
    """Set aside what was changed in a working directory that this process holds (`hold`), before it runs.

    A file with another content than the store gave it (edited, cut off, overwritten) would be taken for a result. It is
    moved to NAME.changed, so that an edit is not lost, and its content comes back from the store. Where the file shared
    its bytes with the store, the blob is damaged too and goes. So do the files that were made from this one, or a
    scheduler would find the work complete; making them anew takes the damaged one's job alone.

    Args:
        root: the store's folder.
        working: the working directory.

    Returns:
        the files that were set aside, under their former names.
    """
    with explained_refusals(root):
        return _verify_workdir(Store(root), working) if root.exists() else []


def _verify_workdir(store: Store, working: Path) -> list[Path]:
    roots = store.roots(working)
    with noting(store.root):
        if not roots.exists():
            _adopt(store, working)
        else:
            roots.compact()
    changed = set_aside(store, working, _changed(store, working))
    clear_work(working)
    return changed


def _changed(store: Store, working: Path) -> list[str]:
    present = _present(store.roots(working).all(), working)
    found = store.memory.digests([working / path for path in present], linked=True)
    return [path for (path, placed), digest in zip(present.items(), found, strict=True) if digest != placed.digest]


def _present(placed: Mapping[str, Root], working: Path) -> dict[str, Root]:
    return {path: root for path, root in placed.items() if (working / path).is_file()}


def set_aside(store: Store, working: Path, suspects: Iterable[str]) -> list[Path]:
    """Move changed results to NAME.changed and bring back their content from the store.

    Each is looked at again while the list is held: a job may have placed another result meanwhile, and listed it.
    Where the store has lost a content, the files that were made from it go, too, so that a scheduler makes all of them
    anew.

    Args:
        suspects: paths below the working directory that had another content than they were placed with.

    Returns:
        what was moved, under its former names.
    """
    roots = store.roots(working)
    changed, lost = [], set()
    for path in suspects:
        file = working / path
        with ExitStack() as stack:
            with noting(store.root):
                stack.enter_context(roots.held())
            placed = _present(roots.all(), working)
            if path not in placed or digest_file(file) == placed[path].digest:
                continue
            log.warning("%s was changed since it was made: set aside as %s%s", file, file.name, CHANGED_SUFFIX)
            changed.append(file)
            os.replace(file, f"{file}{CHANGED_SUFFIX}")
            digest = placed[path].digest
            with suppress(FileNotFoundError):
                if store.intact(digest):
                    with prepared(store.blob(digest), file, store.memory) as new:
                        put(new, file, store.memory, digest)
                    continue
            lost.add(path)
    for path in _made_from(lost, _present(roots.all(), working), store):
        (working / path).unlink(missing_ok=True)
    return changed


def _made_from(lost: set[str], present: Mapping[str, Root], store: Store) -> set[str]:
    """Return the files that were made from lost ones, directly or through others."""
    if not lost:
        return set()
    records = {path: store.find(root.key) for path, root in present.items()}
    sources = {
        path: {source for names in record.sources.values() for source in names}
        for path, record in records.items()
        if record is not None
    }
    found: set[str] = set()
    reached = lost
    while reached:
        reached = {path for path, own in sources.items() if own & reached and path not in found}
        found |= reached
    return found - lost


def _adopt(store: Store, working: Path) -> None:
    """Recognise the results of a working directory of the same owner that was moved or copied here.

    Files that were deleted after use (shards) are recognised by what was made from them.
    """
    lists = [other for other in Roots.of_store(store.root / "roots") if other.trusted(working)]
    known = {(path, root) for other in lists for path, root in other.listed(working).items()}
    there = sorted((entry for entry in known if (working / entry[0]).is_file()), key=lambda entry: entry[0])
    digests = store.memory.digests([working / path for path, _ in there])
    found = {path: root for (path, root), digest in zip(there, digests, strict=True) if root.digest == digest}
    records = [record for key in {root.key for root in found.values()} if (record := store.find(key))]
    used = {digest for record in records for digests in record.parts["inputs"].values() for digest in digests}
    gone = {path: root for path, root in known if root.digest in used and not (working / path).exists()}
    if found:
        store.roots(working).add({**gone, **found})
