"""The files that a working directory got from a store, in a list that lies in the working directory.

A line is added before a file is placed, under the list's lock; so whoever holds the lock finds the two in accord. The
last line of a path counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from classlens.cache import CACHE
from classlens.digest import write_atomically
from classlens.store.folder import is_digest
from classlens.store.lock import locked


@dataclass(frozen=True)
class Placed:
    """A file that was placed in a working directory."""

    key: str
    digest: str


class PlacedFiles:
    """What was placed in a working directory (resolved).

    As long as there is no list in it, that of the layout before counts, which lies in the `store`.
    """

    def __init__(self, working: Path, store: Path) -> None:
        self.working, self.file = working, working / CACHE / "placed.jsonl"
        self.lock, self.id = self.file.with_suffix(".lock"), hashlib.sha256(str(working).encode()).hexdigest()[:32]
        self._before = store / "roots" / f"{self.id}.jsonl"

    def all(self) -> dict[str, Placed]:
        """Return what was placed last at each path, relative to the working directory."""
        file = self.file if self.file.exists() or not _is_mine(self._before) else self._before
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


def _is_mine(path: Path) -> bool:
    """Tell whether a file is this user's and nobody else may write to it."""
    return path.is_file() and (found := path.lstat()).st_uid == os.getuid() and not found.st_mode & 0o022


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
