"""A memory of what was found in files, such as their digests, so that an unchanged file is not read again."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from classlens.store.lock import are_locks_used

SETTLED_NS = 2_000_000_000
"""Age from which a file's change time tells it from a later version of equal size."""
BUSY_SECONDS = 2.0
"""How long a process waits for the memory's lock before it does without the memory."""

State = tuple[str, str, int, int, int, int]
"""File system, inode, size (bytes), modification and change time (ns), number of links."""

_volumes: dict[int, str] = {}
"""The file systems' own numbers: a network file system has another device number on each machine."""
log = logging.getLogger(__name__)


class FileMemory:
    """Remembers a text about each file by file system, inode, size, and the times of modification and change.

    Tools can set a modification time back (`cp -p`, `rsync -a`); the change time is the system's own. It is a cache:
    where it cannot be read or written (a full disk, a lock that a network file system does not grant), files are read
    again and nothing else changes.

    Args:
        path: the SQLite file; made when first needed.
        find: reads a file and returns the text, always the same of the same content.
        linked: files have names that come and go, which changes their change time but not the content.
    """

    def __init__(self, path: Path, find: Callable[[str], str], *, linked: bool = False) -> None:
        self._path, self._find, self._linked, self._is_used = path, find, linked, True

    def texts(self, paths: Iterable[Path | str], threads: int = 4) -> list[str]:
        """Return the text of each file, reading, in so many threads, only those that are new or changed."""
        files = [str(path) for path in paths]
        before = [_state(file) for file in files]
        known = self._known(before)
        unknown = {file: state for file, state, text in zip(files, before, known, strict=True) if text is None}
        with ThreadPoolExecutor(threads) as pool:
            found = dict(zip(unknown, _with_bar(pool.map(self._find, unknown), len(unknown)), strict=True))
        # A file that was changed a moment ago may change again within one tick of its clock.
        settled = time.time_ns() - SETTLED_NS
        self._note(
            [(*unknown[f], text) for f, text in found.items() if unknown[f][4] < settled and _state(f) == unknown[f]]
        )
        return [found[file] if text is None else text for file, text in zip(files, known, strict=True)]

    def known(self, path: Path | str) -> str | None:
        """Return the text of a file if it is remembered; the file is not read."""
        return self._known([_state(path)])[0]

    def remember(self, texts: Mapping[Path, str]) -> None:
        """Note the texts of files that nobody writes to any more."""
        self._note([(*_state(path), text) for path, text in texts.items()])

    def _known(self, states: Sequence[State]) -> list[str | None]:
        query = "select digest from digests where volume = ? and inode = ? and size = ? and modified = ? "
        query += f"and (changed = ? or {self._linked:d} and links != ?)"
        rows = self._each(query, states) if self._path.exists() else [None] * len(states)
        return [row and row[0] for row in rows]

    def _note(self, rows: Sequence[tuple[str | int, ...]]) -> None:
        self._each("insert or replace into digests values (?, ?, ?, ?, ?, ?, ?)", rows)

    def _each(self, query: str, rows: Sequence[tuple[str | int, ...]]) -> list[Any]:
        """Return the first row of a query with each of these; Nones where the memory cannot be used."""
        if self._is_used and rows:
            # Without locks two writers may spoil the file, which is then made anew; what a row says stays true.
            lockless = "" if are_locks_used() else "?nolock=1"
            columns = "volume, inode, size, modified, changed, links, digest, primary key (volume, inode)"
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                address = f"{self._path.absolute().as_uri()}{lockless}"
                with closing(sqlite3.connect(address, timeout=BUSY_SECONDS, uri=True)) as database, database:
                    database.execute("pragma synchronous = off")  # what a failing machine spoils is found anew
                    database.execute(f"create table if not exists digests ({columns})")
                    return [database.execute(query, row).fetchone() for row in rows]
            except (sqlite3.Error, OSError) as error:
                self._is_used = False
                log.info("%s cannot be used (%s): files are read again", self._path, error)
                if isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
                    with suppress(OSError):
                        self._path.unlink()
        return [None] * len(rows)


def _state(path: Path | str) -> State:
    stat = os.stat(path)
    if stat.st_dev not in _volumes:
        _volumes[stat.st_dev] = str(os.statvfs(path).f_fsid)
    # As text, because inode numbers of some file systems exceed SQLite's signed integers.
    file = (_volumes[stat.st_dev], str(stat.st_ino))
    return (*file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_nlink)


def _with_bar(found: Iterable[str], total: int) -> Iterable[str]:
    """Show on a terminal how many files have been read, once that takes longer than two seconds."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # planning needs no library
        return found
    bar: Iterable[str] = tqdm(found, "reading files", total, unit="file", disable=None, leave=False, delay=2)
    return bar
