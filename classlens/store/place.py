"""Put a blob where the user wants to see it: hard link, else reflink, else copy."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

FICLONE = 0x40049409
"""Linux: share the blocks of another file until one of the two is written to."""


def place(blob: Path, destination: Path) -> None:
    """Make `destination` a read-only file with the blob's content, all at once.

    Its modification time is now, so that a scheduler that goes by times takes it for fresh. A link to another user's
    blob cannot be given a time; such a blob is cloned or copied.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".placing-") as folder:
        new = Path(folder) / destination.name
        if not _link(blob, new):
            _clone_or_copy(blob, new)
            os.chmod(new, 0o444)
        os.replace(new, destination)


def _link(blob: Path, new: Path) -> bool:
    try:
        os.link(blob, new)
        now = time.time_ns()
        os.utime(new, ns=(now, now))
    except OSError:  # another file system, another owner, too many links
        new.unlink(missing_ok=True)
        return False
    return True


def _clone_or_copy(blob: Path, new: Path) -> None:
    try:
        with blob.open("rb") as source, new.open("wb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    except OSError:
        shutil.copyfile(blob, new)
