"""The store: action records (key -> outputs) over blobs (content digest -> bytes).

Layout under the root:
    actions/ab/abcd...json   one record per key, written last, so that a record never names a blob that is not there
    blobs/ab/abcd...         contents under their digests, read-only
    roots/*.jsonl            what each working directory shows of the store (what garbage collection keeps)
    locks/                   keys that jobs compute

Nothing in it is trusted, since others may write to a shared store; see `classlens.store.trust`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from classlens.cache import CACHE
from classlens.digest import digest_file
from classlens.store import inside
from classlens.store.inside import require_plain_folder
from classlens.store.memory import DigestMemory
from classlens.store.place import place
from classlens.store.refusals import explained_refusals
from classlens.store.roots import Roots, noting
from classlens.store.trust import is_digest, is_plain_file, require_digest

STORE_VARIABLE = "CLASSLENS_STORE"
DEFAULT_STORE = ".classlens"

_SHARD = re.compile("[0-9a-f]{2}")

log = logging.getLogger(__name__)


def store_path(configured: str | None) -> Path:
    """Return where the store is: the environment variable goes before the config key, then comes .classlens."""
    return Path(os.path.expanduser(os.environ.get(STORE_VARIABLE) or configured or DEFAULT_STORE)).absolute()


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
        for folder in _shards(self.root / kind):
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
            yield from (folder / name for name in names if is_digest(name.removesuffix(".json")))

    def leftovers(self) -> Iterator[Path]:
        """Yield what a process that was killed left of a record or blob."""
        for kind in ("actions", "blobs"):
            for folder in _shards(self.root / kind):
                yield from filter(is_plain_file, folder.glob(f"{inside.LEFTOVER}*"))

    def remove(self, path: Path) -> None:
        """Remove a file of the store, if it is there."""
        inside.remove(self.root, path)

    def find(self, key: str) -> Record | None:
        """Return the record of a key, None if no job with this key has been computed."""
        path = self.action(key)
        try:
            return _read_record(inside.read_text(inside.open_plain(self.root, path)), key)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            # What a terminal would obey is written out.
            log.warning("record %s is damaged (%r); it is made anew", path, str(error))
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
            # Another user can write to a blob of theirs and give it a name more.
            found = self.memory.digest(path, linked=path.lstat().st_uid == os.getuid())
        except FileNotFoundError:
            return False
        if found != digest:
            log.warning("blob %s is damaged (its content is %s); it is made anew", path, found)
            self.remove(path)
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
                    place(self.blob(digests[name]), destination, self.memory)
            except FileNotFoundError:  # collected or replaced meanwhile
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
            moved = inside.move_in(self.root, path, blob)
        self.memory.remember(blob, digest, moved)
        return digest, size

    def commit(self, record: Record) -> None:
        """Write a record; from now on its key is a hit."""
        path = self.action(record.key)
        self.make_folder(path.parent)
        self._set_aside(path)
        inside.write_text(self.root, path, json.dumps(asdict(record), indent=1))

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a key: a second job with the same key waits and then finds the result.

        The lock falls with its process, however that ends.
        """
        self.make_folder(self.root / "locks")
        with inside.opened_lock(self.root, self.root / "locks" / f"{require_digest(key)}.lock") as lock:
            try:
                lock.acquire(timeout=0)
            except TimeoutError:
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
            inside.rename(self.root, path, f".{path.name}-{uuid.uuid4().hex}")

    def make_folder(self, folder: Path) -> None:
        """Make a folder with the root's permissions, so that a group that shares the root shares all of it.

        Args:
            folder: inside of the root, which is made, too.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        inside.make_folder(self.root, folder, stat.S_IMODE(self.root.stat().st_mode))


def _shards(parent: Path) -> list[Path]:
    """Return the folders of records or blobs, which two digits name."""
    require_plain_folder(parent)
    try:
        with os.scandir(parent) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(folder for folder in folders if _SHARD.fullmatch(folder.name))


def _read_record(text: str, key: str) -> Record:
    """Read a record.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, OverflowError: it is damaged, or of another key.
    """
    fields = inside.parsed(text)
    record = Record(**{**fields, "outputs": [Output(**output) for output in fields["outputs"]]})
    if record.key != key:
        raise ValueError(f"it is of the key {record.key!r}")
    inputs = record.parts["inputs"]
    for digest in (*(output.digest for output in record.outputs), *(item for name in inputs for item in inputs[name])):
        require_digest(digest)
    counts = {name: len(paths) for name, paths in record.sources.items()}
    if counts != {name: len(digests) for name, digests in inputs.items()}:
        raise ValueError("its sources do not fit its inputs")
    texts = [record.job, *record.wildcards.values(), *(path for paths in record.sources.values() for path in paths)]
    texts += [output.name for output in record.outputs]
    _require_provenance(record.provenance)
    _require_parts(record.parts)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name or path in it is no text")
    if not all(isinstance(output.size, int) and 0 <= output.size < 2**63 for output in record.outputs):
        raise ValueError("a size in it is no number of bytes")
    return record


def _require_provenance(made: Mapping[str, Any]) -> None:
    """Refuse a provenance that cannot be shown, or whose times are none."""
    for notes in (made, *made.get("accepted", [])):
        if not all(isinstance(notes[name], str) for name in ("started", "host", "user")):
            raise ValueError("its provenance says not when or where it was made")
        if not isinstance(notes["commit"], str | None):
            raise ValueError("the commit in it is no text")
        datetime.fromisoformat(notes["started"]).timestamp()
    for notes in made.get("accepted", []):
        require_digest(notes["from"]), require_digest(notes["to"])
    if not isinstance(made["seconds"], int | float) or not abs(made["seconds"]) < 2**40:
        # Below zero where a clock was set back meanwhile.
        raise ValueError("the seconds in it are no number")


def _require_parts(parts: Mapping[str, Any]) -> None:
    """Refuse parts of a key that are not of the kinds that `JobKey` has."""
    kinds = {"functions": dict, "code": str, "modules": dict, "libraries": dict, "inputs": dict, "outputs": list}
    for name, kind in kinds.items():
        if not isinstance(parts[name], kind):
            raise TypeError(f"{name} of its key are no {kind.__name__}")
    if "config" not in parts:
        raise KeyError("config")
