"""One user's folder of a store: action records (key -> outputs) over blobs (content digest -> bytes).

A record is written last, so that it never names a blob that is not there. Only its user writes there, so what the user
finds there is sound or damaged. To others it is data: names count if they are keys and digests, and files if they are
plain and no link leads to them; contents are compared with their digests. Its layout is in docs/store.md.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import FunctionType
from typing import Any, BinaryIO

from classlens.digest import digest_file, write_atomically
from classlens.errors import InputError
from classlens.store.disk_errors import ANOTHER_STORE

MOST_BYTES = 2**30
"""That are read of a record: it names every raw file, which may be millions."""
UNFINISHED = ".new-"
"""How names of files begin that are not complete."""
FICLONE = 0x40049409
"""Linux: share the blocks of another file until one of the two is written to."""

log = logging.getLogger(__name__)


def is_digest(value: object) -> bool:
    """Tell whether a value is a key or content digest: 64 hex digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


@dataclass(frozen=True)
class Output:
    """One output of an action; its size is in bytes."""

    name: str
    digest: str
    size: int


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


class Folder:
    """One user's folder, which need not be there.

    Where it `is_own`, what may not be read there is an error, and its damaged files are made anew.
    """

    def __init__(self, path: Path, *, is_own: bool) -> None:
        self.path, self.is_own = path, is_own
        self._what_follows = "made anew" if is_own else "passed over"

    def blob(self, digest: str) -> Path:
        """Return the path of a blob, which need not exist."""
        return self.path / "blobs" / digest[:2] / digest

    def action(self, key: str) -> Path:
        """Return the path of an action record, which need not exist."""
        return self.path / "actions" / key[:2] / f"{key}.json"

    def files(self, kind: str) -> Iterator[Path]:
        """Yield the files of `actions` or `blobs`; folders and foreign names are none."""
        for shard in _listed(self.path / kind):
            for path in _listed(shard):
                if is_digest(path.name.removesuffix(".json")) and path.is_file():
                    yield path

    def records(self) -> Iterator[Record]:
        """Yield every readable record."""
        try:
            yield from (record for path in self.files("actions") if (record := self.find(path.stem)))
        except PermissionError as error:
            if self.is_own:
                raise
            log.warning("%s may not be read (%s); it is passed over", error.filename, error.strerror)

    def find(self, key: str) -> Record | None:
        """Return the record of a key, None if there is none that can be read."""
        path = self.action(key)
        try:
            with self._opened(path) as file:
                return _parsed(file, key) if file else None
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            # What a terminal would obey is written out.
            log.warning("record %s is damaged (%r); it is %s", path, str(error), self._what_follows)
            return None

    def holds(self, output: Output) -> bool:
        """Tell whether there is a plain file in a blob's place, of its size; its content is not looked at."""
        with self._opened(self.blob(output.digest), output.size) as blob:
            pass
        return blob is not None

    def copy(self, output: Output, new: Path) -> bool:
        """Clone or copy a blob to a new, read-only file; return False if there is none with this content."""
        with self._opened(self.blob(output.digest), output.size) as blob, new.open("wb") as target:
            if blob is None:
                return False
            try:
                fcntl.ioctl(target.fileno(), FICLONE, blob.fileno())
            except OSError:
                shutil.copyfileobj(blob, target, 2**20)
            os.fchmod(target.fileno(), 0o444)
        is_whole = digest_file(new) == output.digest
        if not is_whole:
            log.warning("blob %s has another content; it is %s", self.blob(output.digest), self._what_follows)
            new.unlink()
        return is_whole

    @contextmanager
    def _opened(self, path: Path, size: int | None = None) -> Iterator[BinaryIO | None]:
        """Open a plain file (of a size) to which no link leads; give None where there is none, and log what is.

        Raises PermissionError where it is this user's, and may not be read.
        """
        file, real = None, os.path.join(os.path.realpath(self.path), path.relative_to(self.path))
        try:
            if not path.is_file() or os.path.realpath(path) != real:
                if os.path.lexists(path):
                    log.warning("%s is no plain file, or a link leads there; it is %s", path, self._what_follows)
            elif size in (None, path.stat().st_size):
                # What becomes a pipe at this moment is not waited for.
                file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
        except FileNotFoundError:
            pass
        except PermissionError as error:
            if self.is_own:
                raise
            log.warning("%s may not be read (%s); it is passed over", path, error.strerror)
        with file or nullcontext():
            yield file

    def require_private(self) -> None:
        """Raise an InputError where somebody else has this folder or may write to it."""
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise InputError(
                f"{self.path} must be a folder of yours to which nobody else may write: remove it, or `chmod go-w` it "
                f"if it is yours, or {ANOTHER_STORE}"
            )

    def make(self, path: Path) -> Path:
        """Make a folder in this one of one's own, which everybody may read, whatever the umask; return it."""
        for step in reversed([path, *path.parents]):
            if not step.is_dir():
                step.mkdir(exist_ok=True)
                step.chmod(0o755)
        self.require_private()
        return path

    def write(self, record: Record) -> None:
        """Write a record; from now on its key is a hit."""
        path = self.action(record.key)
        self.make(path.parent)
        write_atomically(path, json.dumps(asdict(record), indent=1))

    def move_in(self, file: Path, digest: str) -> None:
        """Move a finished file to its blob's place, all at once, also from another file system."""
        blob = self.blob(digest)
        new = self.make(blob.parent) / f"{UNFINISHED}{uuid.uuid4().hex}"
        try:
            shutil.move(file, new)
            with new.open("rb") as content:
                os.fchmod(content.fileno(), 0o444)
                os.fsync(content.fileno())
            os.replace(new, blob)
        finally:
            new.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder, in order; a link or file has nothing in it."""
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


_TEXTS = {str: str}
_MADE = {
    "started": lambda value: datetime.fromisoformat(value).timestamp() > 0,
    "host": str,
    "user": str,
    "commit": str | None,
}
_ACCEPTED = {**_MADE, "from": is_digest, "to": is_digest}
_KEY = {"code": str, "config": object, "inputs": {str: [is_digest]}, "outputs": [str]}
_OUTPUT = {"name": str, "digest": is_digest, "size": lambda value: isinstance(value, int) and 0 <= value < 2**63}
_RECORD = {
    "job": str,
    "wildcards": _TEXTS,
    "parts": _KEY | dict.fromkeys(("functions", "modules", "libraries"), _TEXTS),
    "sources": {str: [str]},
    "outputs": [_OUTPUT],
    # Below zero where a clock was set back meanwhile.
    "provenance": {**_MADE, "seconds": lambda value: isinstance(value, int | float) and abs(value) < 2**40},
}


def _fits(value: Any, form: Any) -> bool:
    """Tell whether a value of JSON has a form: a type, a test, a list of a form, or a table by names or any (`str`)."""
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(one, form[0]) for one in value)
    if isinstance(form, dict):
        forms = dict.fromkeys(value, form[str]) if str in form and isinstance(value, dict) else form
        return isinstance(value, dict) and all(name in value and _fits(value[name], of) for name, of in forms.items())
    return bool(form(value)) if isinstance(form, FunctionType) else isinstance(value, form)


def _parsed(file: BinaryIO, key: str) -> Record:
    """Return the record that a file holds; errors of several kinds where it is damaged, or of another key."""
    if (size := os.fstat(file.fileno()).st_size) > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes")
    fields = json.loads(file.read(MOST_BYTES))
    if not _fits(fields, _RECORD) or not _fits(fields["provenance"].get("accepted", []), [_ACCEPTED]):
        raise ValueError("it has not the form of a record")
    record = Record(**{**fields, "outputs": [Output(**output) for output in fields["outputs"]]})
    if record.key != key:
        raise ValueError(f"it is of the key {record.key!r}")
    inputs = record.parts["inputs"]
    if {name: len(of) for name, of in inputs.items()} != {name: len(of) for name, of in record.sources.items()}:
        raise ValueError("its sources do not fit its inputs")
    return record
