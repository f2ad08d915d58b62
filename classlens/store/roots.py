"""What working directories show of a store: the roots that garbage collection keeps."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from classlens.store import inside
from classlens.store.inside import require_plain_folder
from classlens.store.lock import locked
from classlens.store.refusals import DENIED
from classlens.store.trust import is_digest, is_trusted, results_of

LOCK_SECONDS = 60.0
"""For which a list's lock is waited for; it is held for an instant, unless somebody means harm or a server lost it."""
LONGEST_LINE = 10_000
_held: set[Path] = set()
"""Locks that were waited for in vain, which this process does once."""
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}

log = logging.getLogger(__name__)


@contextmanager
def noting(store: Path) -> Iterator[None]:
    """Go on where a store may only be read, or its lock is held: results can be used, but not noted as in use."""
    try:
        yield
    except OSError as error:
        if error.errno not in DENIED and not isinstance(error, TimeoutError):
            raise
        _say_unnoted(store, str(error))


@cache
def _say_unnoted(store: Path, reason: str) -> None:
    """Say it once."""
    log.warning("the store %s cannot note what is used of it (%s), so collection may take it", store, reason)


@dataclass(frozen=True)
class Root:
    """A file that was placed in a working directory."""

    key: str
    digest: str


class Roots:
    """The files that one working directory got from a store, in an append-only list.

    Args:
        folder: the store's folder of such lists.
        working: the working directory (resolved).

    Raises:
        InputError: `folder` is a link.
    """

    def __init__(self, folder: Path, working: Path) -> None:
        require_plain_folder(folder)
        self.working, self._store = working, folder.parent
        self._file = folder / f"{hashlib.sha256(str(working).encode()).hexdigest()[:32]}.jsonl"
        self.lock = self._file.with_name(f"{self._file.name}.lock")

    @classmethod
    def of_store(cls, folder: Path) -> Iterator[Roots]:
        """Yield the roots of every working directory that a store knows; what is no such list is named in the log."""
        require_plain_folder(folder)
        for file in sorted(folder.glob("*.jsonl")):
            try:
                handle = inside.open_plain(folder.parent, file)
                with os.fdopen(handle, encoding="utf-8") as lines:
                    first = lines.readline(LONGEST_LINE)
                roots = cls(folder, Path(inside.parsed(first)["working"]))
                if roots._file != file:
                    raise ValueError("it has another directory's name")
            except (OSError, ValueError, TypeError, KeyError) as error:
                log.warning("%r is no list of results (%r); it is ignored", str(file), str(error))
                continue
            yield roots

    def exists(self) -> bool:
        """Tell whether the store has such a list."""
        return os.path.lexists(self._file)

    def trusted(self, working: Path | None = None) -> bool:
        """Tell whether only this user or a working directory's (its own's) owner can have written the list."""
        try:
            return is_trusted(self._file.lstat(), working or self.working)
        except OSError:
            return False

    def add(self, files: Mapping[str, Root]) -> None:
        """Note placed files by their paths, relative to the working directory or absolute."""
        with self.held():
            self.append(files)

    def append(self, files: Mapping[str, Root]) -> None:
        """Note placed files as `add` does; the list is held by the caller."""
        if not files:
            return
        added = {self.name(path): root for path, root in files.items()}
        lines = "".join(f"{_line(path, root)}\n" for path, root in added.items())
        handle = self._opened(os.O_RDWR | os.O_APPEND, trusted=True)
        if handle is not None:
            with os.fdopen(handle, "rb+") as file:
                header = self._header().encode()
                if file.read(len(header)) == header:  # else it is another name of any file
                    file.seek(-1, os.SEEK_END)
                    torn = b"" if file.read() == b"\n" else b"\n"  # by a process that was killed while writing
                    file.write(torn + lines.encode())
                    return
        self._write(added)

    def all(self) -> dict[str, Root]:
        """Return what was placed last at each path (relative to the working directory); nothing of a list by others."""
        handle = self._opened(os.O_RDONLY, trusted=True)
        if handle is not None:
            return self._entries(handle, self.working)
        if os.path.lexists(self._file):
            log.warning("%s may have been written by others; it is not followed", self._file)
        return {}

    def listed(self, working: Path | None = None) -> dict[str, Root]:
        """Return the entries of the list, whoever wrote it.

        Args:
            working: entries of files outside of this directory's results/ are left out; default: the list's own.
        """
        handle = self._opened(os.O_RDONLY)
        return {} if handle is None else self._entries(handle, working or self.working)

    def _opened(self, flags: int, *, trusted: bool = False) -> int | None:
        """Open the list; return None if there is none, or none that may be trusted if it is to be."""
        try:
            handle = inside.open_plain(self._store, self._file, flags)
        except (ValueError, FileNotFoundError):
            return None
        # Asked of the opened file: another may come to its place.
        if trusted and not is_trusted(os.fstat(handle), self.working):
            os.close(handle)
            return None
        return handle

    def _entries(self, handle: int, working: Path) -> dict[str, Root]:
        """Read the entries of an opened list, and close it."""
        try:
            lines = inside.read_text(handle, errors="replace").splitlines()[1:]
        except ValueError as error:
            log.warning("%s is no list of results (%s); it is ignored", self._file, error)
            return {}
        is_result = results_of(working)
        found = {}
        for line in lines:
            try:
                entry = inside.parsed(line)
                path, root = entry["path"], Root(entry["key"], entry["digest"])
            except (ValueError, TypeError, KeyError):  # the last line of a process that was killed while writing
                continue
            if is_digest(root.key) and is_digest(root.digest) and is_result(path):
                found[path] = root
        return found

    def get(self, path: Path | str) -> Root | None:
        """Return what was placed at a path, None if nothing was."""
        return self.all().get(self.name(path))

    def shown(self) -> dict[str, Root]:
        """Return those entries whose file is still there, whoever wrote the list: what collection spares."""
        return {path: root for path, root in self.listed().items() if _may_be_there(self.working / path)}

    def gone(self) -> bool:
        """Tell whether the working directory is gone; one that this user may not look into is taken as there."""
        return not _may_be_there(self.working)

    def compact(self) -> None:
        """Take entries away that later ones replaced, once these are most."""
        with self.held():
            handle = self._opened(os.O_RDONLY, trusted=True)
            if handle is None:
                return
            with os.fdopen(os.dup(handle), "rb") as file:
                lines = sum(1 for _ in file)
            os.lseek(handle, 0, os.SEEK_SET)
            entries = self._entries(handle, self.working)
            if lines > 2 * len(entries) + 1:
                self._write(entries)

    def forget(self) -> None:
        """Drop the list: the working directory is gone."""
        with self.held():
            inside.remove(self._store, self._file)

    def name(self, path: Path | str) -> str:
        """Return the name under which a file is listed."""
        return os.path.relpath(self.working / path, self.working)

    def _write(self, files: Mapping[str, Root]) -> None:
        lines = [f"{_line(path, root)}\n" for path, root in files.items()]
        inside.write_text(self._store, self._file, "".join([self._header(), *lines]))

    def _header(self) -> str:
        return json.dumps({"working": str(self.working)}) + "\n"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the list: nobody else adds to it, or places what it lists.

        Raises:
            TimeoutError: somebody else does all the time.
        """
        with ExitStack() as stack:
            path = self.lock
            place = stack.enter_context(inside.opened_place(self._store, path))
            try:
                stack.enter_context(locked(place, seconds=0 if path in _held else LOCK_SECONDS))
            except TimeoutError:
                _held.add(path)
                raise
            yield


def _may_be_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno not in ABSENT
    except ValueError:  # a name that no file can have
        return False
    return True


def _line(path: str, root: Root) -> str:
    return json.dumps({"path": path, "key": root.key, "digest": root.digest})
