"""A memory of digests of files, so that an unchanged file is not read again."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from classlens.digest import digest_file

SETTLED_NS = 2_000_000_000
"""Age from which a file's time stamp tells it from a later version of equal size."""

Signature = tuple[str, str, int, int]
"""File system, inode, size (bytes), modification time (ns)."""


class DigestMemory:
    """Remembers digests by (file system, inode, size, modification time).

    It is a cache: where it cannot be read or written (a read-only store, a lock that a network file system does not
    grant), files are read again and nothing else changes.

    Args:
        path: the SQLite file; made when first needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def digests(self, paths: Iterable[Path | str], threads: int = 4) -> list[str]:
        """Return the digest of each file, reading only those that are new or changed."""
        files = [str(path) for path in paths]
        stats = [os.stat(file) for file in files]
        known = self._recall([_signature(file, stat) for file, stat in zip(files, stats, strict=True)])
        unknown = [index for index, digest in enumerate(known) if digest is None]
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(digest_file, (files[index] for index in unknown)))
        now = time.time_ns()
        settled = []
        for index, digest in zip(unknown, found, strict=True):
            known[index] = digest
            before, after = (_signature(files[index], stat) for stat in (stats[index], os.stat(files[index])))
            # A file that was written a moment ago may change again within one tick of its clock.
            if after == before and stats[index].st_mtime_ns < now - SETTLED_NS:
                settled.append((*after, digest))
        self._store(settled)
        return [digest for digest in known if digest is not None]

    def digest(self, path: Path | str) -> str:
        """Return the digest of one file."""
        return self.digests([path])[0]

    def remember(self, path: Path | str, digest: str) -> None:
        """Note the digest of a file that nobody writes to any more."""
        self._store([(*_signature(str(path), os.stat(path)), digest)])

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10)
        connection.execute(
            "create table if not exists contents (volume, inode, size, time, digest, primary key (volume, inode))"
        )
        return connection

    def _recall(self, signatures: list[Signature]) -> list[str | None]:
        query = "select digest from contents where volume = ? and inode = ? and size = ? and time = ?"
        try:
            with closing(self._connect()) as connection:
                rows = [connection.execute(query, signature).fetchone() for signature in signatures]
        except sqlite3.Error:
            return [None] * len(signatures)
        return [row[0] if row else None for row in rows]

    def _store(self, rows: list[tuple[str, str, int, int, str]]) -> None:
        if not rows:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.executemany("insert or replace into contents values (?, ?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError):
            return


def _signature(path: str, stat: os.stat_result) -> Signature:
    # As text, because inode numbers of some file systems exceed SQLite's signed integers.
    return _volume(stat.st_dev, path), str(stat.st_ino), stat.st_size, stat.st_mtime_ns


_volumes: dict[int, str] = {}


def _volume(device: int, path: str) -> str:
    """Return the file system's own number: a network file system has another device number on each machine."""
    if device not in _volumes:
        _volumes[device] = str(os.statvfs(path).f_fsid)
    return _volumes[device]
