"""The store: action records (key -> outputs) over blobs (content digest -> bytes).

Layout under the root:
    actions/ab/abcd...json   one record per key, written last, so that a record never names a blob that is not there
    blobs/ab/abcd...         contents under their digests, read-only
    roots/*.jsonl            what each working directory shows of the store (what garbage collection keeps)
    work/, locks/            jobs under way

Nothing in it is trusted, since others may write to a shared store; see `classlens.store.trust`.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import socket
import stat
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from classlens.cache import CACHE
from classlens.digest import digest_file, write_atomically
from classlens.store.memory import DigestMemory
from classlens.store.place import place
from classlens.store.refusals import explained_refusals
from classlens.store.roots import Roots, noting
from classlens.store.trust import is_digest, is_plain_file, require_digest, require_plain_folder

STORE_VARIABLE = "CLASSLENS_STORE"
DEFAULT_STORE = ".classlens"
WORKSPACE = re.compile(r"(?P<host>.+)-(?P<process>\d{1,9})-[^-]+")
"""Name of the folder that a job computes in."""

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

    What it remembers of files' digests lies in the working directory: a shared memory could be made to lie.

    Args:
        root: its folder; made when first written to.

    Raises:
        InputError: a folder inside of it is a link.
        OSError: see `classlens.store.refusals` for what users are told.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = DigestMemory(Path.cwd() / CACHE / "digests.sqlite")

    def roots(self, folder: Path | None = None) -> Roots:
        """Return what a working directory (default: the current one) shows of the store."""
        return Roots(self.root / "roots", (folder or Path.cwd()).resolve())

    def blob(self, digest: str) -> Path:
        """Return the path of a blob, which need not exist."""
        return self._entry("blobs", require_digest(digest), "")

    def action(self, key: str) -> Path:
        """Return the path of an action record, which need not exist."""
        return self._entry("actions", require_digest(key), ".json")

    def _entry(self, kind: str, digest: str, suffix: str) -> Path:
        for folder in (self.root / kind, self.root / kind / digest[:2]):
            require_plain_folder(folder)
        return folder / f"{digest}{suffix}"

    def files(self, kind: str) -> Iterator[Path]:
        """Yield the files of `actions` or `blobs`; links, folders and foreign names are none of a store's.

        Args:
            kind: either folder.
        """
        for folder in _plain_folders(self.root / kind):
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
            yield from (folder / name for name in names if is_digest(name.removesuffix(".json")))

    def leftovers(self) -> Iterator[Path]:
        """Yield what a process that was killed left of a record."""
        for folder in _plain_folders(self.root / "actions"):
            yield from folder.glob(".new-*")

    def find(self, key: str) -> Record | None:
        """Return the record of a key, None if no job with this key has been computed."""
        path = self.action(key)
        if not is_plain_file(path):
            return None
        try:
            return _read_record(path, key)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("record %s is damaged (%s); it is made anew", path, error)
            return None

    def records(self) -> Iterator[Record]:
        """Yield every readable record."""
        for path in self.files("actions"):
            record = self.find(path.stem)
            if record is not None:
                yield record

    def intact(self, digest: str) -> bool:
        """Tell whether a blob is there with the content that its name promises.

        A blob with the size and times that it had when it was last read is taken as unchanged. A damaged blob is named
        in the log and taken away.
        """
        path = self.blob(digest)
        self._set_aside(path)
        try:
            found = self.memory.digest(path, linked=True)
        except FileNotFoundError:
            return False
        if found != digest:
            log.warning("blob %s is damaged (its content is %s); it is made anew", path, found)
            path.unlink(missing_ok=True)
        return found == digest

    def restore(self, record: Record, destinations: Mapping[str, Path]) -> bool:
        """Place an action's outputs at their destinations.

        Returns:
            False if a blob is missing or damaged; the outputs are to be made anew then.

        Raises:
            InputError: a destination's folder may not be written to, or its disk is full.
        """
        digests = {output.name: output.digest for output in record.outputs}
        if set(digests) != set(destinations) or not all(map(self.intact, set(digests.values()))):
            return False
        sizes = {output.name: output.size for output in record.outputs}
        for name, destination in destinations.items():
            try:
                with explained_refusals(self.root, destination.parent, sizes[name]):
                    place(self.blob(digests[name]), destination)
                # Linking changed the blob's times; every name of it is known again from here on.
                self.memory.remember(self.blob(digests[name]), digests[name])
                self.memory.remember(destination, digests[name])
            except FileNotFoundError:  # collected meanwhile
                return False
        placed = {str(path): (record.key, digests[name]) for name, path in destinations.items()}
        with noting(self.root):
            self.make_folder(self.root / "roots")
            self.roots().add(placed)
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
        with explained_refusals(self.root, needed=size):
            self.make_folder(blob.parent)
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
            os.replace(path, blob)
        self.memory.remember(blob, digest)
        return digest, size

    def commit(self, record: Record) -> None:
        """Write a record; from now on its key is a hit."""
        path = self.action(record.key)
        self.make_folder(path.parent)
        self._set_aside(path)
        write_atomically(path, json.dumps(asdict(record), indent=1))

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Give a folder on the store's file system that is gone afterwards.

        Its name says which process has it, so that what a killed process left can be told from work under way.
        """
        parent = self.root / "work"
        self.make_folder(parent)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=f"{socket.gethostname()}-{os.getpid()}-"))
        folder.chmod(self._mode())
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def workspaces(self) -> Iterator[tuple[Path, str, int]]:
        """Yield every workspace with the host and the number of the process that made it."""
        for folder in _plain_folders(self.root / "work"):
            if made_by := WORKSPACE.fullmatch(folder.name):
                yield folder, made_by["host"], int(made_by["process"])

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a key: a second job with the same key waits and then finds the result.

        The lock falls with its process, however that ends.
        """
        from filelock import FileLock, Timeout  # planning does without

        self.make_folder(self.root / "locks")
        lock = FileLock(self.root / "locks" / f"{require_digest(key)}.lock", mode=0o666)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another job computes the same; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _set_aside(self, path: Path) -> None:
        """Move away what stands in a file's place and is none."""
        if os.path.lexists(path) and not is_plain_file(path):
            log.warning("%s is no file; it is set aside", path)
            os.replace(path, path.with_name(f".{path.name}-{uuid.uuid4().hex}"))

    def make_folder(self, folder: Path) -> None:
        """Make a folder with the root's permissions, so that a group that shares the root shares all of it.

        Args:
            folder: inside of the root, which is made, too.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        for step in reversed([folder, *folder.parents][: len(folder.relative_to(self.root).parts)]):
            require_plain_folder(step)
            if step.exists():
                continue
            # Under its final name only when it has its mode: another user may want to write into it at once.
            new = Path(tempfile.mkdtemp(dir=self.root, prefix=".new-"))
            new.chmod(self._mode())
            try:
                os.rename(new, step)
            except OSError:  # another process made it, and it is not empty
                new.rmdir()
                if not step.is_dir():
                    raise

    def _mode(self) -> int:
        return stat.S_IMODE(self.root.stat().st_mode)


def _plain_folders(parent: Path) -> list[Path]:
    require_plain_folder(parent)
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _read_record(path: Path, key: str) -> Record:
    """Read a record.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is damaged, or of another key.
    """
    fields = json.loads(path.read_text())
    record = Record(**{**fields, "outputs": [Output(**output) for output in fields["outputs"]]})
    if record.key != key:
        raise ValueError(f"it is of the key {record.key!r}")
    inputs = record.parts["inputs"]
    for digest in (*(output.digest for output in record.outputs), *(item for name in inputs for item in inputs[name])):
        require_digest(digest)
    counts = {name: len(paths) for name, paths in record.sources.items()}
    if counts != {name: len(digests) for name, digests in inputs.items()}:
        raise ValueError("its sources do not fit its inputs")
    texts = (record.job, *record.wildcards.values(), *(path for paths in record.sources.values() for path in paths))
    if not all(isinstance(text, str) for text in (*texts, record.provenance["started"])):
        raise ValueError("a name or path in it is no text")
    if not all(isinstance(output.size, int) for output in record.outputs):
        raise ValueError("a size in it is no number")
    datetime.fromisoformat(record.provenance["started"])
    if not isinstance(record.provenance["seconds"], int | float) or not math.isfinite(record.provenance["seconds"]):
        raise ValueError("the seconds in it are no number")
    return record
