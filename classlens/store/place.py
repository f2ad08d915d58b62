"""Put a blob where the user wants to see it, and keep the folders where files are made before they have their names.

Such folders lie in the working directory: those of jobs in .snakemake/classlens/work, others beside their
destinations. Each is named after a lock that its process holds; who finds the lock free may remove the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from classlens.cache import CACHE
from classlens.digest import digest_file
from classlens.store.folder import Folder
from classlens.store.lock import are_locks_used, take
from classlens.store.memory import DigestMemory

PLACING = ".placing-"
"""How names of folders in results/ begin that hold what is about to be there."""
LOCKS = CACHE / "locks"
FICLONE = 0x40049409
"""Linux: share the blocks of another file until one of the two is written to."""


def work_folder() -> Path:
    """Return where the jobs of the current working directory compute; it need not be there."""
    return Path.cwd() / CACHE / "work"


@contextmanager
def workspace() -> Iterator[Path]:
    """Give a folder that is gone afterwards."""
    work_folder().mkdir(parents=True, exist_ok=True)
    prefix = _own_prefix(Path.cwd(), os.getpid())
    with tempfile.TemporaryDirectory(dir=work_folder(), prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@cache
def _own_prefix(working: Path, process: int) -> str:
    """Return how names of this process's folders begin: the name of a lock that it holds until it ends."""
    name = uuid.uuid4().hex
    (working / LOCKS).mkdir(parents=True, exist_ok=True)
    while take(working / LOCKS / f"{name}.lock") is None:
        pass  # somebody clears and has it for an instant
    return f"{name}-{process}-"


def clear_work(working: Path) -> None:
    """Remove what processes that are gone left in a working directory, also of what they were about to place.

    Without locks it cannot be told from what others use, and stays.
    """
    if not are_locks_used() or not (working / CACHE).is_dir():
        return
    (working / LOCKS).mkdir(exist_ok=True)
    folders = [*(working / CACHE / "work").glob("*-*")]
    # Unlike a glob, `os.walk` goes on where a folder vanishes meanwhile.
    folders += [
        Path(at, name) for at, names, _ in os.walk(working / "results") for name in names if name.startswith(PLACING)
    ]
    left: dict[str, list[Path]] = {path.stem: [] for path in (working / LOCKS).glob("*.lock")}
    for folder in folders:
        name = folder.name.removeprefix(PLACING).partition("-")[0]
        if len(name) == 32 and folder.is_dir():
            left.setdefault(name, []).append(folder)
    for name, of in left.items():
        lock = working / LOCKS / f"{name}.lock"
        handle = take(lock)
        if handle is not None:
            for folder in of:
                shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def prepared(
    source: Folder, digest: str, destination: Path, memory: DigestMemory, working: Path | None = None
) -> Iterator[Path]:
    """Give a read-only file with a blob's content, beside its destination, ready to be renamed to it.

    A blob of one's own is hard-linked, if that can be, and read again only if `memory` does not know it; one of another
    user's is cloned or copied, since its owner may write to it, and digested as it is. The file's modification time is
    now, so that a scheduler takes it for fresh. A lock in `working`, whose file the destination is (default: the
    current directory), says that the folder of the new file is in use.

    Raises:
        FileNotFoundError: the blob is gone, or has another content.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{PLACING}{_own_prefix(working or Path.cwd(), os.getpid())}"
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=prefix) as folder:
        new = Path(folder) / destination.name
        linked = source.is_own and _link(source.blob(digest), new)
        if not linked:
            _clone_or_copy(source, digest, new)
        if (memory.digest(new, linked=True) if linked else digest_file(new)) != digest:
            raise FileNotFoundError(f"{source.blob(digest)} has another content")
        if linked:
            now = time.time_ns()
            os.utime(new, ns=(now, now))
            memory.remember(new, digest)
        yield new


def put(new: Path, destination: Path, memory: DigestMemory, digest: str, *, replace: bool = True) -> None:
    """Give a prepared file its final name, unless something is there that is not to be replaced; note its digest."""
    try:
        if not replace:
            os.link(new, destination, follow_symlinks=False)
            new.unlink()
    except OSError:  # it is there, or the file system has no hard links
        if os.path.lexists(destination):
            return
        replace = True
    if replace:
        os.replace(new, destination)
    memory.remember(destination, digest)


def _link(blob: Path, new: Path) -> bool:
    try:
        os.link(blob, new, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, another owner, too many links
        return False
    found = new.lstat()
    if found.st_uid == os.getuid() and stat.S_ISREG(found.st_mode):
        return True
    new.unlink()  # moved here from another user's folder, or no file
    return False


def _clone_or_copy(source: Folder, digest: str, new: Path) -> None:
    with os.fdopen(source.open(source.blob(digest)), "rb") as blob, new.open("wb") as target:
        try:
            fcntl.ioctl(target.fileno(), FICLONE, blob.fileno())
        except OSError:
            shutil.copyfileobj(blob, target, 2**20)
        os.fchmod(target.fileno(), 0o444)
