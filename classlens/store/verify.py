"""Damage: results that were edited, and blobs and results that a disk spoiled, are found and set aside."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from classlens.digest import digest_file
from classlens.store.disk_errors import going_on_if_denied
from classlens.store.store import Store
from classlens.store.workdir import clear_work, free

log = logging.getLogger(__name__)


def changed_results(store: Store) -> list[str]:
    """Return the results in the working directory with another content than the store gave them; nothing is changed.

    Unchanged ones cost one look at their time stamps.
    """
    while True:
        present = store.placed().present()
        with suppress(FileNotFoundError):  # a run beside this look took one away
            found = store.digests(present)
            return [path for path, digest in zip(present, found, strict=True) if digest != present[path].digest]


def verify_workdir(store: Store) -> list[str]:
    """Set aside what was changed in the working directory, which this process holds (`hold`), before it runs.

    A file with another content than the store gave it (edited, cut off, overwritten) would be taken for a result, see
    `set_aside`. Returned are the files that were set aside, under their former names.
    """
    with going_on_if_denied(), store.lock("run"):
        pass  # what is wrong with locks is said before jobs run
    files = store.placed()
    with files.held():
        files.compact()
    if files.file.exists():  # it may have been moved here
        store.note(files)
    changed = set_aside(store, changed_results(store))
    clear_work()
    return list(changed)


def set_aside(store: Store, suspects: Iterable[str]) -> dict[str, str]:
    """Move changed results to NAME.changed, bring back their content from the store, and return both names.

    Each suspect is looked at again while the list is held: a job may have placed another result meanwhile, and listed
    it. Where the store has lost a content, as where the file shared its bytes with it, the files that were made from it
    go, too, or a scheduler would find the work complete; making them anew takes the lost one's job alone.
    """
    files, changed, lost = store.placed(), dict[str, str](), set()
    for path in suspects:
        with files.held():
            placed = files.present().get(path)
            if placed is None or digest_file(path) == placed.digest:
                continue
            names = (f"{path}.changed{number}" for number in chain([""], (f".{n}" for n in count(2))))
            changed[path] = next(name for name in names if not os.path.lexists(name))  # one may be of an earlier edit
            log.warning("%s was changed since it was made: set aside as %s", path, changed[path])
            os.replace(path, changed[path])
        record = store.find(placed.key)
        destinations = {one.name: Path(path) for one in record.outputs if one.digest == placed.digest} if record else {}
        if not record or not destinations or not store.restore(record, destinations, replace=False):
            lost.add(path)
    if lost:
        records = {path: store.find(placed.key) for path, placed in files.present().items()}
        sources = {path: set(chain(*record.sources.values())) for path, record in records.items() if record}
        while lost := {path for path, own in sources.items() if own & lost and os.path.exists(path)}:
            for path in lost:
                os.unlink(path)
    return changed


def verify_blobs(store: Store) -> list[Path]:
    """Read every blob of one's own again, take away those that are damaged, and return them.

    Jobs that need them compute again. Results that share their bytes are found by `verify_results`, or by the next run
    in their working directory.
    """
    damaged = []
    for blob in list(store.own.files("blobs")):
        with suppress(FileNotFoundError):  # another process took it
            found = digest_file(blob)
            store.remember({blob: found})
            if found != blob.name:
                blob.unlink()
                damaged.append(blob)
    return damaged


def verify_results(store: Store) -> dict[str, str | None]:
    """Read the results of the working directory again, and set bad ones aside (`set_aside`) unless a run is under way.

    What a run trusts by its time stamp is read here, but for what shares its bytes with a blob (`verify_blobs` read
    it). Bad files are returned by their former names, with what they were set aside as.
    """
    bad = []
    for path, placed in store.placed().present().items():
        blob = store.own.blob(placed.digest)
        if not (blob.exists() and blob.samefile(path)) and digest_file(path) != placed.digest:
            bad.append(path)
    with free() as is_free:
        moved = set_aside(store, bad) if is_free else {}
    return {path: moved.get(path) for path in bad}
