"""One user's folder of a store: action records (key -> outputs) over blobs (content digest -> bytes).

    actions/ab/abcd...json   one record per key, written last, so that a record never names a blob that is not there
    blobs/ab/abcd...         contents under their digests, read-only
    locks/                   keys that this user's jobs compute
    roots/                   working directories where this user placed results
    digests.sqlite           what this user's results and blobs hold, so that they are not read again

Only its user writes there, so what the user finds there is sound or damaged. To others it is data: names count if they
are keys and digests, and files if they are plain and no link leads to them; contents are compared with their digests.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from classlens.digest import write_atomically

MOST_BYTES = 2**30
"""That are read of a record: it names every raw file, which may be millions."""
PASSED_OVER = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM}
"""What opening a link, folder, pipe or socket in the place of a file ends in, or what another user keeps private."""
UNFINISHED = ".new-"
"""How names of files begin that are not complete."""
_DIGEST = re.compile("[0-9a-f]{64}")

log = logging.getLogger(__name__)


def is_digest(value: object) -> bool:
    """Tell whether a value is a key or content digest: 64 hex digits."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def require_digest(value: object) -> str:
    """Return a key or content digest; of anything else a ValueError is raised."""
    if not isinstance(value, str) or not is_digest(value):
        raise ValueError(f"{value!r} is no digest")
    return value


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


class Folder:
    """One user's folder, which need not be there.

    Where it `is_own`, what may not be read there is an error, and its damaged files are made anew.
    """

    def __init__(self, path: Path, *, is_own: bool) -> None:
        self.path, self.is_own = path, is_own

    def blob(self, digest: str) -> Path:
        """Return the path of a blob, which need not exist."""
        return self.path / "blobs" / require_digest(digest)[:2] / digest

    def action(self, key: str) -> Path:
        """Return the path of an action record, which need not exist."""
        return self.path / "actions" / require_digest(key)[:2] / f"{key}.json"

    def files(self, kind: str) -> Iterator[Path]:
        """Yield the files of `actions` or `blobs`; links, folders and foreign names are none."""
        for shard in _plain_folder(self.path / kind):
            for path in _plain_folder(shard) if len(shard.name) == 2 else ():
                if is_digest(path.name.removesuffix(".json")) and path.is_file() and not path.is_symlink():
                    yield path

    def unfinished(self) -> Iterator[Path]:
        """Yield what a process that was killed left of a record or blob."""
        for kind in ("actions", "blobs"):
            yield from (self.path / kind).glob(f"??/{UNFINISHED}*")

    def find(self, key: str) -> Record | None:
        """Return the record of a key, None if there is none that can be read."""
        path = self.action(key)
        try:
            with os.fdopen(self.open(path), encoding="utf-8") as file:
                if os.fstat(file.fileno()).st_size > MOST_BYTES:
                    raise ValueError(f"it has {os.fstat(file.fileno()).st_size:,} bytes")
                return _parsed(file.read(MOST_BYTES), key)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            # What a terminal would obey is written out.
            log.warning("record %s is damaged (%r); it is %s", path, str(error), self._what_follows())
            return None

    def records(self) -> Iterator[Record]:
        """Yield every readable record."""
        try:
            yield from (record for path in self.files("actions") if (record := self.find(path.stem)))
        except PermissionError as error:
            if self.is_own:
                raise
            log.warning("%s may not be read (%s); it is passed over", error.filename, error.strerror)

    def holds(self, digest: str, size: int) -> bool:
        """Tell whether there is a plain file in a blob's place, of its size; its content is not looked at."""
        with suppress(FileNotFoundError), os.fdopen(self.open(self.blob(digest)), "rb") as file:
            return os.fstat(file.fileno()).st_size == size
        return False

    def open(self, path: Path) -> int:
        """Open a file of the folder for reading, following no link on the way, and return its descriptor.

        Raises:
            FileNotFoundError: it is not there, or a link, pipe, device or folder is, which the log names.
            PermissionError: it is this user's, and may not be read.
        """
        handles: list[int] = []
        try:
            for step in (str(self.path), *path.relative_to(self.path).parts[:-1]):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                handles.append(os.open(step, flags, dir_fd=handles[-1] if handles else None))
            handle = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handles[-1])
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            return handle
        except OSError as error:
            error.filename = str(path)
            if error.errno not in PASSED_OVER or (self.is_own and isinstance(error, PermissionError)):
                raise
            log.warning(
                "%s is no plain file that may be read (%s); it is %s", path, error.strerror, self._what_follows()
            )
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        finally:
            for one in handles:
                os.close(one)

    def _what_follows(self) -> str:
        return "made anew" if self.is_own else "passed over"

    def write(self, record: Record) -> None:
        """Write a record; from now on its key is a hit."""
        path = self.action(record.key)
        make_folder(path.parent)
        write_atomically(path, json.dumps(asdict(record), indent=1))

    def move_in(self, file: Path, digest: str) -> None:
        """Move a finished file to its blob's place, all at once, also from another file system."""
        blob = self.blob(digest)
        make_folder(blob.parent)
        new = blob.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
        try:
            try:
                os.replace(file, new)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                shutil.copyfile(file, new)
            with new.open("rb") as content:
                os.fchmod(content.fileno(), 0o444)
                os.fsync(content.fileno())
            os.replace(new, blob)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        file.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder of one's own and those on the way to it, which everybody may read, whatever the umask."""
    for step in reversed([path, *path.parents]):
        if not step.is_dir():
            step.mkdir(exist_ok=True)
            step.chmod(0o755)


def _plain_folder(folder: Path) -> list[Path]:
    """Return what is in a folder, in order; a link or file has nothing in it."""
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _parsed(text: str, key: str) -> Record:
    """Return the record that a text holds; errors of any kind where it is damaged, or of another key."""
    fields = json.loads(text)
    record = Record(**{**fields, "outputs": [Output(**output) for output in fields["outputs"]]})
    parts, made = record.parts, record.provenance
    if record.key != key:
        raise ValueError(f"it is of the key {record.key!r}")
    kinds = {"functions": dict, "code": str, "modules": dict, "libraries": dict, "inputs": dict, "outputs": list}
    if "config" not in parts or not all(isinstance(parts[name], kind) for name, kind in kinds.items()):
        raise TypeError("the parts of its key are not of their kinds")
    if {name: len(of) for name, of in parts["inputs"].items()} != {n: len(of) for n, of in record.sources.items()}:
        raise ValueError("its sources do not fit its inputs")
    accepted = made.get("accepted", [])
    digests = [*chain(*parts["inputs"].values()), *(output.digest for output in record.outputs)]
    for digest in (*digests, *(notes[end] for notes in accepted for end in ("from", "to"))):
        require_digest(digest)
    for notes in (made, *accepted):
        datetime.fromisoformat(notes["started"]).timestamp()
    texts: list[Any] = [record.job, *record.wildcards.values(), *chain(*record.sources.values())]
    texts += [output.name for output in record.outputs]
    texts += [notes[name] for notes in (made, *accepted) for name in ("started", "host", "user")]
    texts += [notes["commit"] for notes in (made, *accepted) if notes["commit"] is not None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name, path, place or time in it is no text")
    if not all(isinstance(output.size, int) and 0 <= output.size < 2**63 for output in record.outputs):
        raise ValueError("a size in it is no number of bytes")
    # Below zero where a clock was set back meanwhile.
    if not isinstance(made["seconds"], int | float) or not abs(made["seconds"]) < 2**40:
        raise ValueError("the seconds in it are no number")
    return record
