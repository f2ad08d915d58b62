"""A memory of what was found in files, such as their digests, so that an unchanged file is not read again."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from classlens.digest import digest_file
from classlens.store.lock import are_locks_used

SETTLED_NS = 2_000_000_000
"""Age from which a file's change time tells it from a later version of equal size."""

BUSY_SECONDS = 2.0
"""For which a memory's lock is waited for; after that the process does without the memory."""

Signature = tuple[str, str, int, int, int, int]
"""File system, inode, size (bytes), modification and change time (ns), number of links."""
Row = tuple[str, str, int, int, int, int, str]
"""The same, and what was found in the file."""


log = logging.getLogger(__name__)


class FileMemory:
    """Remembers a text about each file by file system, inode, size, and the times of modification and change.

    Tools can set a modification time back (`cp -p`, `rsync -a`); the change time is the system's own.

    It is a cache: where it cannot be read or written (a full disk, a lock that a network file system does not grant),
    files are read again and nothing else changes.

    Args:
        path: the SQLite file; made when first needed.
        find: reads a file and returns the text, always the same of the same content.
    """

    def __init__(self, path: Path, find: Callable[[str], str]) -> None:
        self._path, self._find = path, find
        self._is_used = self.is_kept = True

    def texts(self, paths: Iterable[Path | str], *, linked: bool = False, threads: int = 4) -> list[str]:
        """Return the text of each file, reading only those that are new or changed.

        Args:
            paths: the files.
            linked: they share their bytes with a store. A name more or less, as when a result is deleted, changes the
                change time but not the content; such a change does not count.
            threads: that read.
        """
        files = [str(path) for path in paths]
        stats = [os.stat(file) for file in files]
        before = [_signature(file, stat) for file, stat in zip(files, stats, strict=True)]
        known = self.recall(before, linked)
        unknown = [index for index, text in enumerate(known) if text is None]
        with ThreadPoolExecutor(threads) as pool:
            found = list(_with_bar(pool.map(self._find, (files[index] for index in unknown)), len(unknown)))
        settled, now = [], time.time_ns()
        for index, text in zip(unknown, found, strict=True):
            known[index], after = text, _signature(files[index], os.stat(files[index]))
            # A file that was changed a moment ago may change again within one tick of its clock.
            if after == before[index] and stats[index].st_ctime_ns < now - SETTLED_NS:
                settled.append((*after, text))
        self.store(settled, linked)
        return [text for text in known if text is not None]

    def _connect(self) -> sqlite3.Connection:
        # Without locks two writers may spoil the file, which is then made anew; what a row says stays true.
        lockless = "" if are_locks_used() else "?nolock=1"
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}{lockless}", timeout=BUSY_SECONDS, uri=True)
        connection.execute("pragma synchronous = off")  # what a failing machine spoils is found anew
        connection.execute(
            "create table if not exists digests "
            "(volume, inode, size, modified, changed, links, digest, primary key (volume, inode))"
        )
        return connection

    def recall(self, signatures: list[Signature], linked: bool) -> list[str | None]:
        """Return what is known of files as they are, None where nothing is; see `texts`."""
        found: list[str | None] = []
        rows, renamed = [], []
        query = "select size, modified, changed, links, digest from digests where volume = ? and inode = ?"
        if self._is_used and self._path.exists():
            try:
                with closing(self._connect()) as connection:
                    rows = [connection.execute(query, signature[:2]).fetchone() for signature in signatures]
            except sqlite3.Error as error:
                self._give_up(error)
        for row, (*_, size, modified, changed, links), signature in zip(
            rows or [None] * len(signatures), signatures, signatures, strict=True
        ):
            same = row and row[:2] == (size, modified) and (row[2] == changed or (linked and row[3] != links))
            found.append(row[4] if same else None)
            if same and row[2] != changed:
                renamed.append((*signature, row[4]))
        # The next name more or less is told from this state.
        self.store(renamed, linked)
        return found

    def store(self, rows: list[Row], linked: bool) -> None:
        """Note what was found in files; `linked` as for `texts`."""
        if not rows or not self._is_used or not self.is_kept:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.executemany("insert or replace into digests values (?, ?, ?, ?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._is_used = False
        log.info("%s cannot be used (%s): files are read again", self._path, error)
        if isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
            with suppress(OSError):
                self._path.unlink()


class DigestMemory(FileMemory):
    """Remembers the SHA-256 of files.

    What is `shared` remembers linked files for other working directories, too: whoever gives such a file a time gives
    it to all of its names, and says so there.
    """

    def __init__(self, path: Path, shared: DigestMemory | None = None) -> None:
        super().__init__(path, lambda file: digest_file(file))
        self._shared = shared

    def recall(self, signatures: list[Signature], linked: bool) -> list[str | None]:
        """Return what is known of files as they are, None where nothing is."""
        found = super().recall(signatures, linked)
        unknown = [index for index, text in enumerate(found) if text is None]
        if self._shared is None or not unknown:
            return found
        known = self._shared.recall([signatures[index] for index in unknown], linked)
        news = {index: text for index, text in zip(unknown, known, strict=True) if text is not None}
        super().store([(*signatures[index], text) for index, text in news.items()], linked)
        return [news.get(index, text) for index, text in enumerate(found)]

    def store(self, rows: list[Row], linked: bool) -> None:
        """Note the digests of files."""
        super().store(rows, linked)
        if self._shared is not None and linked and self._shared._path.parent.is_dir():
            self._shared.store(rows, linked)

    digests = FileMemory.texts

    def digest(self, path: Path | str, *, linked: bool = False) -> str:
        """Return the digest of one file, see `texts`."""
        return self.digests([path], linked=linked)[0]

    def remember(self, path: Path | str, digest: str) -> None:
        """Note the digest of a file that nobody writes to any more."""
        self.store([(*_signature(str(path), os.stat(path)), digest)], linked=True)


def _with_bar(found: Iterable[str], total: int) -> Iterable[str]:
    """Show on a terminal how many files have been read, once that takes longer than two seconds."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # planning needs no library
        return found
    bar: Iterable[str] = tqdm(found, "reading files", total, unit="file", disable=None, leave=False, delay=2)
    return bar


def _signature(path: str, stat: os.stat_result) -> Signature:
    if stat.st_dev not in _volumes:
        _volumes[stat.st_dev] = str(os.statvfs(path).f_fsid)
    # As text, because inode numbers of some file systems exceed SQLite's signed integers.
    file = (_volumes[stat.st_dev], str(stat.st_ino))
    return (*file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_nlink)


_volumes: dict[int, str] = {}
"""The file systems' own numbers: a network file system has another device number on each machine."""
