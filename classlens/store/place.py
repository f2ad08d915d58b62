"""Put a blob where the user wants to see it: hard link, else reflink, else copy."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classlens.store.inside import open_plain
from classlens.store.memory import DigestMemory
from classlens.store.trust import is_plain_file
from classlens.store.workspace import PLACING, own_prefix

FICLONE = 0x40049409
"""Linux: share the blocks of another file until one of the two is written to."""


@contextmanager
def prepared(blob: Path, destination: Path, memory: DigestMemory) -> Iterator[Path]:
    """Give a read-only file with the blob's content, beside its destination, ready to be renamed to it.

    Its modification time is now, so that a scheduler that goes by times takes it for fresh. A link to another user's
    blob cannot be given a time, and its owner may write to it; such a blob is cloned or copied.

    Args:
        blob: named after its content.
        destination: the place.
        memory: knows the content of the blob, so that what is linked is not read again; notes that of the file.

    Raises:
        FileNotFoundError: the blob is gone, or what is in its place has another content.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f"{PLACING}{own_prefix()}") as folder:
        new = Path(folder) / destination.name
        linked = _link(blob, new)
        if not linked:
            _clone_or_copy(blob, new)
        # Of what is placed, not of the blob: another may have come to its name since it was looked at.
        if memory.digest(new, linked=linked) != blob.name:
            raise FileNotFoundError(f"{blob} was replaced")
        if linked:
            now = time.time_ns()
            os.utime(new, ns=(now, now))
            memory.remember(new, blob.name)
        yield new


def put(new: Path, destination: Path, memory: DigestMemory, digest: str, *, replace: bool = True) -> bool:
    """Give a prepared file its final name, and remember its digest.

    Returns:
        False if something is there already and is not to be replaced.
    """
    if replace:
        os.replace(new, destination)
    else:
        try:
            os.link(new, destination, follow_symlinks=False)
            new.unlink()
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if os.path.lexists(destination):
                return False
            os.replace(new, destination)
    memory.remember(destination, digest)
    return True


def _link(blob: Path, new: Path) -> bool:
    try:
        os.link(blob, new, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, another owner, too many links
        return False
    if is_plain_file(new) and new.lstat().st_uid == os.getuid():
        return True
    new.unlink()
    return False


def _clone_or_copy(blob: Path, new: Path) -> None:
    try:
        handle = open_plain(blob.parent, blob)
    except ValueError as error:
        raise FileNotFoundError(f"{blob} was replaced") from error
    with os.fdopen(handle, "rb") as source, new.open("wb") as target:
        try:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        except OSError:
            shutil.copyfileobj(source, target, 2**20)
        os.fchmod(target.fileno(), 0o444)
