"""The store: action records (key -> outputs) over blobs (content digest -> bytes).

Layout under the root:
    actions/ab/abcd...json   one record per key, written last, so that a record never names a blob that is not there
    blobs/ab/abcd...         contents under their digests, read-only
    roots/*.jsonl            what each working directory shows of the store (what garbage collection keeps)
    cards/                   descriptions of architectures
    work/, locks/            jobs under way
    digests.sqlite           memory of file digests; may be deleted at any time
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from classlens.store.digest import DigestMemory, digest_file, write_atomically
from classlens.store.place import place
from classlens.store.roots import Roots

STORE_VARIABLE = "CLASSLENS_STORE"
DEFAULT_STORE = ".classlens"

log = logging.getLogger(__name__)


def store_path(configured: str | None) -> Path:
    """Return where the store is: the environment variable goes before the config key, then comes .classlens."""
    return Path(os.environ.get(STORE_VARIABLE) or configured or DEFAULT_STORE).absolute()


@dataclass(frozen=True)
class Output:
    """One output of an action."""

    name: str
    digest: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Record:
    """What an action made, from what, and how."""

    key: str
    job: str
    wildcards: dict[str, str]
    parts: dict[str, Any]
    """The key's parts, see `JobKey`."""
    sources: dict[str, list[str]]
    """Paths of the inputs as the job saw them, in the order of the key's input digests."""
    outputs: list[Output]
    provenance: dict[str, Any]
    """Code commit, start, seconds, host, user, device."""


class Store:
    """A content-addressed store of artifacts.

    Safe for many processes and machines at once: everything appears under its final name by one rename.

    Args:
        root: its folder; made when first needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = DigestMemory(root / "digests.sqlite")
        if not root.exists():
            root.mkdir(parents=True, exist_ok=True)

    def roots(self, folder: Path | None = None) -> Roots:
        """Return what a working directory (default: the current one) shows of the store."""
        return Roots(self.root / "roots", (folder or Path.cwd()).resolve())

    def blob(self, digest: str) -> Path:
        """Return the path of a blob, which need not exist."""
        return self.root / "blobs" / digest[:2] / digest

    def action(self, key: str) -> Path:
        """Return the path of an action record, which need not exist."""
        return self.root / "actions" / key[:2] / f"{key}.json"

    def find(self, key: str) -> Record | None:
        """Return the record of a key, None if no job with this key has been computed."""
        try:
            return _read_record(self.action(key))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            log.warning("record %s is damaged; it is made anew", self.action(key))
            return None

    def records(self) -> Iterator[Record]:
        """Yield every readable record."""
        for path in sorted((self.root / "actions").glob("*/*.json")):
            record = self.find(path.stem)
            if record is not None:
                yield record

    def intact(self, digest: str) -> bool:
        """Tell whether a blob is there with the content that its name promises.

        A blob with the size and time that it had when it was last read is taken as unchanged. A damaged blob is
        named in the log and taken away.
        """
        path = self.blob(digest)
        try:
            found = self.memory.digest(path)
        except FileNotFoundError:
            return False
        if found != digest:
            log.warning("blob %s is damaged (its content is %s); it is made anew", path, found)
            path.unlink(missing_ok=True)
        return found == digest

    def restore(self, record: Record, destinations: Mapping[str, Path]) -> bool:
        """Place an action's outputs at their destinations.

        Returns:
            False, with nothing placed, if a blob is missing or damaged.
        """
        digests = {output.name: output.digest for output in record.outputs}
        if set(digests) != set(destinations) or not all(map(self.intact, set(digests.values()))):
            return False
        for name, destination in destinations.items():
            place(self.blob(digests[name]), destination)
            # Linking changed the blob's time; every name of it is known again from here on.
            self.memory.remember(self.blob(digests[name]), digests[name])
            self.memory.remember(destination, digests[name])
        self.roots().add({str(path): (record.key, digests[name]) for name, path in destinations.items()})
        return True

    def take(self, path: Path) -> tuple[str, int]:
        """Move a finished file into the store.

        Returns:
            its digest and size in bytes.
        """
        digest, size = digest_file(path), path.stat().st_size
        if self.intact(digest):
            path.unlink()
            return digest, size
        blob = self.blob(digest)
        self._make(blob.parent)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.chmod(0o444)
        os.replace(path, blob)
        self.memory.remember(blob, digest)
        return digest, size

    def commit(self, record: Record) -> None:
        """Write a record; from now on its key is a hit."""
        path = self.action(record.key)
        self._make(path.parent)
        write_atomically(path, json.dumps(asdict(record), indent=1))

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Give a folder on the store's file system that is gone afterwards.

        Its name says which process has it, so that what a killed process left can be told from work under way.
        """
        parent = self.root / "work"
        self._make(parent)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=f"{socket.gethostname()}-{os.getpid()}-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a key: a second job with the same key waits and then finds the result.

        The lock falls with its process, however that ends.
        """
        self._make(self.root / "locks")
        lock = FileLock(self.root / "locks" / f"{key}.lock", mode=0o666)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another job computes the same; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _make(self, folder: Path) -> None:
        """Make a folder with the root's permissions, so that a group that shares the root shares all of it."""
        for step in (*reversed(folder.relative_to(self.root).parents), folder.relative_to(self.root)):
            path = self.root / step
            if not path.exists():
                path.mkdir(exist_ok=True)
                path.chmod(self.root.stat().st_mode & 0o7777)


def _read_record(path: Path) -> Record:
    fields = json.loads(path.read_text())
    fields["outputs"] = [Output(**output) for output in fields["outputs"]]
    return Record(**fields)
