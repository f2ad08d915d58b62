"""What working directories show of a store: the roots that garbage collection keeps."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from classlens.digest import write_atomically
from classlens.store.refusals import DENIED
from classlens.store.trust import is_digest, is_plain_file, is_trusted, require_plain_folder, results_of

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger(__name__)


@contextmanager
def noting(store: Path) -> Iterator[None]:
    """Go on where a store may only be read: its results can be used, but not noted as in use."""
    try:
        yield
    except OSError as error:
        if error.errno not in DENIED:
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
        self.working = working
        self._file = folder / f"{hashlib.sha256(str(working).encode()).hexdigest()[:32]}.jsonl"

    @classmethod
    def of_store(cls, folder: Path) -> Iterator[Roots]:
        """Yield the roots of every working directory that a store knows; what is no such list is named in the log."""
        require_plain_folder(folder)
        for file in sorted(folder.glob("*.jsonl")):
            try:
                if not is_plain_file(file):
                    raise ValueError("it is no file")
                roots = cls(folder, Path(json.loads(file.read_text().partition("\n")[0])["working"]))
                if roots._file != file:
                    raise ValueError("it has another directory's name")
            except (OSError, ValueError, TypeError, KeyError) as error:
                log.warning("%s is no list of results (%s); it is ignored", file, error)
                continue
            yield roots

    def exists(self) -> bool:
        """Tell whether the store has such a list."""
        return self._file.exists()

    def trusted(self, working: Path | None = None) -> bool:
        """Tell whether only this user or a working directory's (its own's) owner can have written the list."""
        return is_trusted(self._file, working or self.working)

    def add(self, files: Mapping[str, tuple[str, str]]) -> None:
        """Note placed files: path (relative to the working directory or absolute) -> (key, digest)."""
        added = {self.name(path): Root(*root) for path, root in files.items()}
        with self._lock():
            if not self.trusted():
                self._write(added)
                return
            with self._file.open("a") as file:
                file.write("".join(f"{_line(path, root)}\n" for path, root in added.items()))

    def all(self) -> dict[str, Root]:
        """Return what was placed last at each path (relative to the working directory); nothing of a list by others."""
        if self.trusted():
            return self.listed()
        if os.path.lexists(self._file):
            log.warning("%s may have been written by others; it is not followed", self._file)
        return {}

    def listed(self, working: Path | None = None) -> dict[str, Root]:
        """Return the entries of the list, whoever wrote it.

        Args:
            working: entries of files outside of this directory's results/ are left out; default: the list's own.
        """
        if not is_plain_file(self._file):
            return {}
        is_result = results_of(working or self.working)
        found = {}
        for line in self._file.read_text(errors="replace").splitlines()[1:]:
            try:
                entry = json.loads(line)
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

    def rewrite(self, files: Mapping[str, Root]) -> None:
        """Make the list anew of these entries."""
        with self._lock():
            self._write(files)

    def forget(self) -> None:
        """Drop the list: the working directory is gone."""
        with self._lock():
            self._file.unlink(missing_ok=True)

    def name(self, path: Path | str) -> str:
        """Return the name under which a file is listed."""
        return os.path.relpath(self.working / path, self.working)

    def _write(self, files: Mapping[str, Root]) -> None:
        lines = [json.dumps({"working": str(self.working)}), *(_line(path, root) for path, root in files.items())]
        write_atomically(self._file, "".join(f"{line}\n" for line in lines))

    def _lock(self) -> FileLock:
        from filelock import FileLock  # planning in a new folder does without

        return FileLock(f"{self._file}.lock", mode=0o666)


def _may_be_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True


def _line(path: str, root: Root) -> str:
    return json.dumps({"path": path, "key": root.key, "digest": root.digest})
