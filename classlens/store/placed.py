"""The files that a working directory got from a store, in a list that lies in the working directory.

A line is added before a file is placed, under the list's lock; so whoever holds the lock finds the two in accord. The
last line of a path counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from classlens.cache import CACHE
from classlens.digest import write_atomically
from classlens.store.folder import is_digest
from classlens.store.lock import locked

RESULTS = "results"


@dataclass(frozen=True)
class Placed:
    """A file that was placed in a working directory."""

    key: str
    digest: str


class PlacedFiles:
    """What was placed in a working directory.

    Args:
        working: the working directory (resolved).
        store: where a list of the layout before this one may lie, which is read as long as there is no other.
    """

    def __init__(self, working: Path, store: Path) -> None:
        self.working = working
        self.file = working / CACHE / "placed.jsonl"
        self.lock = working / CACHE / "placed.lock"
        before = f"roots/{hashlib.sha256(str(working).encode()).hexdigest()[:32]}.jsonl"
        self._before = (store / before, store / f"u{os.getuid()}" / before)

    def all(self) -> dict[str, Placed]:
        """Return what was placed last at each path, relative to the working directory."""
        try:
            return dict(_entries(self.file.read_text(errors="replace").splitlines()))
        except FileNotFoundError:
            return dict(_entries(self._lines_before()))

    def name(self, path: Path | str) -> str:
        """Return the name under which a file is listed."""
        return os.path.relpath(self.working / path, self.working)

    def present(self) -> dict[str, Placed]:
        """Return those entries whose file is there."""
        return {path: placed for path, placed in self.all().items() if (self.working / path).is_file()}

    def add(self, files: Mapping[str, Placed]) -> None:
        """Note placed files by their paths, relative to the working directory or absolute."""
        with self.held():
            self.append(files)

    def append(self, files: Mapping[str, Placed]) -> None:
        """Note placed files as `add` does; the list is held by the caller."""
        named = {self.name(path): placed for path, placed in files.items()}
        if not os.access(self.file, os.W_OK):  # there is none yet, or another user's, who works here, too
            write_atomically(self.file, _lines(self.all() | named))
            return
        lines = _lines(named)
        with self.file.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                lines = lines if file.read() == b"\n" else f"\n{lines}"  # torn by a process that was killed
            file.write(lines.encode())

    def compact(self) -> None:
        """Take lines away that later ones replaced, once these are most; the list is held by the caller."""
        with suppress(FileNotFoundError):
            entries, lines = self.all(), self.file.read_bytes().count(b"\n")
            if lines > 2 * len(entries):
                write_atomically(self.file, _lines(entries))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the list: nobody else adds to it, or places what it lists."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.lock):
            yield

    def _lines_before(self) -> list[str]:
        """Return the lines of a list that this user or the working directory's owner wrote, and nobody else could."""
        for path in self._before:
            with suppress(OSError), open(path, encoding="utf-8", errors="replace", opener=_no_link) as file:
                found = os.fstat(file.fileno())
                if found.st_uid in (os.getuid(), self.working.stat().st_uid) and not found.st_mode & 0o022:
                    return file.read().splitlines()
        return []


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _lines(entries: Mapping[str, Placed]) -> str:
    return "".join(
        json.dumps({"path": path, "key": placed.key, "digest": placed.digest}) + "\n"
        for path, placed in entries.items()
    )


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, Placed]]:
    """Yield what lines say of files below results/; a line may be torn, or say anything."""
    for line in lines:
        try:
            entry = json.loads(line)
            path, placed = entry["path"], Placed(entry["key"], entry["digest"])
            is_inside = path.startswith(f"{RESULTS}/") and os.path.normpath(path) == path and "\0" not in path
            os.fsencode(path)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if is_inside and is_digest(placed.key) and is_digest(placed.digest):
            yield path, placed
