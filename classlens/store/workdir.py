"""Look over a working directory's files from the store before a run: what was changed or damaged is set aside."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from classlens.store.place import place
from classlens.store.refusals import explained_refusals
from classlens.store.roots import Root, Roots, noting
from classlens.store.store import Store
from classlens.store.workspace import clear_work

CHANGED_SUFFIX = ".changed"

log = logging.getLogger(__name__)


def verify_workdir(root: Path, working: Path) -> list[Path]:
    """Check every file that the store placed in a working directory; unchanged ones cost one look at their time stamps.

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
    if not roots.exists():
        with noting(store.root):
            _adopt(store, working)
    placed = roots.all()
    present = {path: root for path, root in placed.items() if (working / path).is_file()}
    found = store.memory.digests([working / path for path in present], linked=True)
    changed = [path for (path, placed), digest in zip(present.items(), found, strict=True) if digest != placed.digest]
    for path in changed:
        file = working / path
        log.warning("%s was changed since it was made: set aside as %s%s", file, file.name, CHANGED_SUFFIX)
    set_aside(store, working, present, changed)
    clear_work(working)
    if placed:  # without what was replaced; files that are gone say how later ones came to be
        with noting(store.root):
            roots.rewrite(placed)
    return [working / path for path in changed]


def set_aside(store: Store, working: Path, present: Mapping[str, Root], changed: Collection[str]) -> None:
    """Move changed results to NAME.changed and bring back their content from the store.

    Where the store has lost it, the files that were made from it go, too, so that a scheduler makes all of them anew.

    Args:
        present: the working directory's results.
        changed: those with another content than they were placed with.
    """
    lost = set()
    for path in changed:
        file = working / path
        os.replace(file, f"{file}{CHANGED_SUFFIX}")
        with suppress(FileNotFoundError):
            if store.intact(present[path].digest):
                place(store.blob(present[path].digest), file, store.memory)
                continue
        lost.add(path)
    for path in _made_from(lost, present, store):
        (working / path).unlink(missing_ok=True)


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
        store.roots(working).add({path: (root.key, root.digest) for path, root in {**gone, **found}.items()})
