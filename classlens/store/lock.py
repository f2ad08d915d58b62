"""Locks on files, which fall with their process, however that ends; and file systems that grant none."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classlens.errors import InputError

NOT_GRANTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, 524}
"""What a file system without locks answers: NFS without its lock service, Lustre without `flock`; 524 is Linux's."""
WORDLESS_SECONDS = 5.0
"""After so long a wait, a message says what is waited for."""
POLL_SECONDS = 0.05

_chosen = {"locks": "flock"}
log = logging.getLogger(__name__)


def use_locks(kind: str | None) -> None:
    """Choose the locks of this process, by the config's key `locks`: "flock" (default), or "none" to do without."""
    _chosen["locks"] = kind or "flock"


def are_locks_used() -> bool:
    """Tell whether this process locks files."""
    return _chosen["locks"] != "none"


def take(path: Path, *, shared: bool = False) -> int | None:
    """Take a lock without waiting, alone or `shared` with others who do so; it is held until the descriptor is closed.

    Returns:
        a descriptor of the lock's file, which is made; None where another process holds the lock.

    Raises:
        InputError: the file system grants no locks.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            if are_locks_used():
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            if error.errno in NOT_GRANTED:
                raise InputError(
                    f"{path}: its file system grants no lock (error {error.errno}, {error.strerror}); take a store and "
                    f"a working directory on a disk that does, such as a local one, or set `locks: none` in the "
                    f"config: two jobs may then compute the same result at once, and nothing breaks"
                ) from error
            raise
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)  # it was collected after it was opened: the lock is that of a new file


def wait(path: Path, *, why: str = "", only_for_shared: bool = False) -> int | None:
    """Take a lock as soon as it is free; None where it waits `only_for_shared` holders and somebody holds it alone.

    Of a wait the log says `why` at once, else, after WORDLESS_SECONDS, what is waited for.
    """
    began, said = time.monotonic(), False
    while (handle := take(path)) is None:
        if only_for_shared:
            if (other := take(path, shared=True)) is None:
                return None
            os.close(other)
        if not said and (why or time.monotonic() - began > WORDLESS_SECONDS):
            said = True
            log.info(why) if why else log.warning("waiting for %s, which another process holds", path)
        time.sleep(POLL_SECONDS)
    return handle


@contextmanager
def locked(path: Path, why: str = "") -> Iterator[None]:
    """Hold a lock, waiting for it as `wait` does."""
    handle = wait(path, why=why)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
