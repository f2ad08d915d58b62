"""What the store keeps in a working directory: which run has it, which files it got, where they are made.

Files are made in folders of their own before they have their names: those of jobs in .snakemake/classlens/work, those
of results that are about to be placed beside their destinations. Each such folder has a lock beside it, which falls
with its process; whoever finds it free may remove the folder.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from classlens.digest import write_atomically
from classlens.shipped import CACHE
from classlens.store.disk_errors import going_on_if_denied
from classlens.store.folder import is_digest
from classlens.store.lock import are_locks_used, locked, take, wait

LOOK_VARIABLE = "CLASSLENS_LOOK"
"""Environment variable: where it is set, a dry run links nothing."""
RUN_LOCK = CACHE / "run.lock"
WORK = CACHE / "work"
PLACING = ".placing-"
"""How names of folders in results/ begin that hold what is about to be there, and those of their locks."""

_held: list[int] = []
"""The lock on the working directory, where this process is a run."""


def hold() -> bool:
    """Hold the working directory until this process ends: no other run sets its files aside or replaces them.

    Snakemake takes its own lock only when it has planned, which is after stored results are placed, and does not lose
    it when it is killed. Returns False where another run holds it, or Snakemake's lock lies there; a dry run has it
    for as long as it links what is stored, and is waited for.
    """
    if not _held and not _is_locked_by_snakemake():
        CACHE.mkdir(parents=True, exist_ok=True)
        if (handle := wait(RUN_LOCK, only_for_shared=True)) is not None:
            _held.append(handle)
    return bool(_held)


@contextmanager
def free() -> Iterator[bool]:
    """Keep runs out of the working directory for an instant, without waiting; give False where one holds it."""
    handle = None
    with going_on_if_denied():
        CACHE.mkdir(parents=True, exist_ok=True)
        handle = take(RUN_LOCK, shared=True)
    try:
        yield handle is not None and not _is_locked_by_snakemake()
    finally:
        if handle is not None:
            os.close(handle)


def _is_locked_by_snakemake() -> bool:
    return any(Path(".snakemake/locks").glob("*.lock"))


@contextmanager
def temporary(parent: Path, prefix: str = "") -> Iterator[Path]:
    """Give a new folder in another one, which is made; the new one is gone afterwards."""
    parent.mkdir(parents=True, exist_ok=True)
    lock = parent / f"{prefix}{uuid.uuid4().hex}.lock"
    try:
        with locked(lock):
            lock.with_suffix("").mkdir(0o700)
            yield lock.with_suffix("")
    finally:
        _remove(lock)


def clear_work() -> None:
    """Remove what processes that have ended left in the working directory, what they were about to place included.

    Without locks it cannot be told from what others use, and stays.
    """
    # Unlike a glob, `os.walk` goes on where a folder vanishes meanwhile, and follows no links.
    below = ((at, fnmatch.filter(names, f"{PLACING}*.lock")) for at, _, names in os.walk("results"))
    placing = [Path(at, name) for at, names in below for name in names]
    for lock in [*WORK.glob("*.lock"), *placing] if are_locks_used() else []:
        with suppress(OSError):  # gone meanwhile, or of another user who works here
            if (handle := take(lock)) is not None:
                _remove(lock)
                os.close(handle)


def _remove(lock: Path) -> None:
    shutil.rmtree(folder := lock.with_suffix(""), ignore_errors=True)
    if not folder.exists():  # else whoever clears next tries again
        lock.unlink(missing_ok=True)


@dataclass(frozen=True)
class Placed:
    """A file that was placed in a working directory."""

    key: str
    digest: str


class PlacedFiles:
    """The files that a working directory got from a store, in a list in .snakemake/classlens.

    A line is added before a file is placed, under the list's lock; so whoever holds the lock finds the two in accord.
    The last line of a path counts. As long as there is none, the list of the layout before counts, in the `store`.
    """

    def __init__(self, working: Path, store: Path) -> None:
        self.working, self.file = working, working / CACHE / "placed.jsonl"
        self.lock, self.id = self.file.with_suffix(".lock"), hashlib.sha256(str(working).encode()).hexdigest()[:32]
        self._before = store / "roots" / f"{self.id}.jsonl"

    def all(self) -> dict[str, Placed]:
        """Return what was placed last at each path, relative to the working directory."""
        file = self.file
        if not file.exists() and self._before.is_file():
            found = self._before.lstat()
            # One that others could write is none.
            file = self._before if found.st_uid == os.getuid() and not found.st_mode & 0o022 else file
        return dict(_entries(file.read_text(errors="replace"))) if file.exists() else {}

    def present(self) -> dict[str, Placed]:
        """Return those entries whose file is there."""
        return {path: placed for path, placed in self.all().items() if (self.working / path).is_file()}

    def name(self, path: Path | str) -> str:
        """Return the name under which a file is listed."""
        return os.path.relpath(self.working / path, self.working)

    def append(self, files: Mapping[str, Placed]) -> None:
        """Note placed files by their paths, relative to the working directory or absolute; the list is held."""
        named = {self.name(path): placed for path, placed in files.items()}
        if os.access(self.file, os.W_OK):
            with self.file.open("a") as file:
                file.write(f"\n{_lines(named)}")  # the line before may be torn by a process that was killed
        else:  # there is none yet, or another user's, who works here, too
            write_atomically(self.file, _lines(self.all() | named))

    def compact(self) -> None:
        """Take lines away that later ones replaced, once these are most; the list is held."""
        if self.file.exists() and self.file.read_bytes().count(b"{") > 2 * len(entries := self.all()):
            write_atomically(self.file, _lines(entries))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the list: nobody else adds to it, or places what it lists."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.lock):
            yield


def _lines(entries: Mapping[str, Placed]) -> str:
    return "".join(json.dumps({"path": path, **vars(placed)}) + "\n" for path, placed in entries.items())


def _entries(text: str) -> Iterator[tuple[str, Placed]]:
    """Yield what lines say of files below results/; a line may be torn, or say anything."""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            path, placed = entry["path"], Placed(entry["key"], entry["digest"])
            is_inside = path.startswith("results/") and os.path.normpath(path) == path and "\0" not in path
            os.fsencode(path)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if is_inside and is_digest(placed.key) and is_digest(placed.digest):
            yield path, placed
