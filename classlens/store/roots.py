"""What working directories show of a store: the roots that garbage collection keeps."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from classlens.store.digest import write_atomically


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
    """

    def __init__(self, folder: Path, working: Path) -> None:
        self.working = working
        self._file = folder / f"{hashlib.sha256(str(working).encode()).hexdigest()[:32]}.jsonl"

    @classmethod
    def of_store(cls, folder: Path) -> Iterator[Roots]:
        """Yield the roots of every working directory that a store knows."""
        for file in sorted(folder.glob("*.jsonl")):
            first = file.read_text().partition("\n")[0]
            yield cls(folder, Path(json.loads(first)["working"]))

    def exists(self) -> bool:
        """Tell whether the store knows this working directory."""
        return self._file.exists()

    def add(self, files: Mapping[str, tuple[str, str]]) -> None:
        """Note placed files: path (relative to the working directory or absolute) -> (key, digest)."""
        lines = [json.dumps({"path": self.name(path), "key": k, "digest": d}) for path, (k, d) in files.items()]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock():
            new = [] if self._file.exists() else [json.dumps({"working": str(self.working)})]
            with self._file.open("a") as file:
                file.write("".join(f"{line}\n" for line in new + lines))

    def all(self) -> dict[str, Root]:
        """Return what was placed last at each path (relative to the working directory)."""
        try:
            lines = self._file.read_text().splitlines()
        except FileNotFoundError:
            return {}
        found = {}
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                found[entry["path"]] = Root(entry["key"], entry["digest"])
            except (ValueError, KeyError):  # the last line of a process that was killed while writing
                continue
        return found

    def get(self, path: Path | str) -> Root | None:
        """Return what was placed at a path, None if nothing was."""
        return self.all().get(self.name(path))

    def present(self) -> dict[str, Root]:
        """Return those entries whose file is still there."""
        return {path: root for path, root in self.all().items() if (self.working / path).is_file()}

    def compact(self) -> None:
        """Drop entries that were replaced. Those of files that are gone say how later files came to be."""
        if not self._file.exists():
            return
        with self._lock():
            lines = [json.dumps({"working": str(self.working)})]
            lines += [
                json.dumps({"path": path, "key": root.key, "digest": root.digest}) for path, root in self.all().items()
            ]
            write_atomically(self._file, "".join(f"{line}\n" for line in lines))

    def forget(self) -> None:
        """Drop the list: the working directory is gone."""
        with self._lock():
            self._file.unlink(missing_ok=True)

    def name(self, path: Path | str) -> str:
        """Return the name under which a file is listed."""
        return os.path.relpath(self.working / path, self.working)

    def _lock(self) -> FileLock:
        return FileLock(f"{self._file}.lock", mode=0o666)
