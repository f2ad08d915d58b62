"""Read, write and remove files of a store without following a link, even one that somebody puts there meanwhile.

Whoever may write to a shared store may replace a folder by a link between a look at it and its use. So folders are
opened one by one, from the root on, and files are named relative to the last.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from classlens.errors import InputError

MOST_BYTES = 2**30
"""That are read of a record or list: a record names every raw file, which may be millions."""
LEFTOVER = ".new-"
"""How names of files begin that are not complete."""
NO_FILE = {errno.ELOOP, errno.EISDIR, errno.ENXIO}
"""What opening a link, folder or socket for writing or reading ends in."""


def require_plain_folder(folder: Path) -> None:
    """Refuse what stands in the place of a store's folder: a link, a file.

    Raises:
        InputError: naming it.
    """
    if os.path.lexists(folder) and not stat.S_ISDIR(folder.lstat().st_mode):
        raise InputError(f"{folder} is a link or file; a link may lead out of the store: replace it by a folder")


@contextmanager
def opened_folder(root: Path, folder: Path) -> Iterator[int]:
    """Open a folder at or below the root.

    Raises:
        InputError: a step to it is a link or file.
        FileNotFoundError: it is not there.
    """
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        step = root
        for name in folder.relative_to(root).parts:
            step /= name
            try:
                with _named_below(step.parent):
                    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            except OSError:
                require_plain_folder(step)  # which says it better
                raise
            os.close(handle)
            handle = inner
        with _named_below(folder):
            yield handle
    finally:
        os.close(handle)


@contextmanager
def _named_below(folder: Path) -> Iterator[None]:
    """Name the file of an error in full: names relative to an open folder mean nothing to a reader."""
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename
        if isinstance(name, str) and not os.path.isabs(name):
            error.filename = str(folder / name)
            if error.filename2 is not None:  # which is shown, too
                error.filename2 = error.filename
        raise


def make_folder(root: Path, folder: Path, mode: int) -> None:
    """Make a folder below the root, and those on the way to it, with a mode whatever the umask.

    Raises:
        InputError: a step to it is a link or file.
    """
    for step in reversed([folder, *folder.parents][: len(folder.relative_to(root).parts)]):
        require_plain_folder(step)
        if step.exists():
            continue
        with opened_folder(root, root) as top, opened_folder(root, step.parent) as parent:
            # Under its final name only when it has its mode: another user may want to write into it at once.
            new = f"{LEFTOVER}{uuid.uuid4().hex}"
            os.mkdir(new, 0o700, dir_fd=top)
            try:
                handle = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
                try:
                    os.fchmod(handle, mode)
                finally:
                    os.close(handle)
                os.rename(new, step.name, src_dir_fd=top, dst_dir_fd=parent)
            except OSError:  # another process made it, and it is not empty
                with suppress(OSError):
                    os.rmdir(new, dir_fd=top)
                if not step.is_dir():
                    raise


def open_plain(root: Path, path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file below the root that is no link, pipe or device, and return its descriptor.

    Raises:
        ValueError: it is one of these, or a folder.
        OSError: it is not there, or may not be opened.
    """
    try:
        with opened_folder(root, path.parent) as folder:
            handle = os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        if error.errno in NO_FILE:
            raise ValueError(f"{path} is no file") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError(f"{path} is no file")
    return handle


@contextmanager
def opened_place(root: Path, path: Path) -> Iterator[Path]:
    """Give another name of a place below the root that leads nowhere else, whatever comes to stand on the way."""
    with opened_folder(root, path.parent) as folder:
        opened = Path(f"/proc/self/fd/{folder}")  # on Linux
        yield (opened if opened.is_dir() else path.parent) / path.name


def read_text(handle: int, errors: str = "strict") -> str:
    """Read a text from a descriptor, and close it.

    Raises:
        ValueError: it is longer than any that a store has, or, if errors are strict, no UTF-8.
    """
    with os.fdopen(handle, encoding="utf-8", errors=errors) as file:
        if os.fstat(handle).st_size > MOST_BYTES:
            raise ValueError(f"it has {os.fstat(handle).st_size:,} bytes")
        return file.read(MOST_BYTES)


def parsed(text: str) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_text(root: Path, path: Path, text: str) -> None:
    """Write a text file below the root so that it is either there in full or not there, whatever happens meanwhile."""
    _put(root, path, lambda file: file.write(text.encode()), 0o644)


def move_in(root: Path, file: Path, path: Path) -> os.stat_result:
    """Move a file of this user to a place below the root, all at once, also from another file system.

    Returns:
        what the system says of the moved file itself, whatever has come to its place since.
    """
    with opened_folder(root, path.parent) as folder, file.open("rb") as source:
        os.fsync(source.fileno())
        os.fchmod(source.fileno(), 0o444)
        with suppress(OSError):  # its group is known to quotas alone: others may read the file, too
            os.fchown(source.fileno(), -1, os.fstat(folder).st_gid)
        try:
            os.replace(file, path.name, dst_dir_fd=folder)
            return os.fstat(source.fileno())
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        moved = _put(root, path, lambda target: shutil.copyfileobj(source, target, 2**20), 0o444)
    file.unlink()
    return moved


def remove(root: Path, path: Path) -> None:
    """Remove a file below the root, if it is there."""
    with suppress(FileNotFoundError), opened_folder(root, path.parent) as folder:
        os.unlink(path.name, dir_fd=folder)


def rename(root: Path, path: Path, name: str) -> None:
    """Give what is below the root another name in its folder."""
    with opened_folder(root, path.parent) as folder:
        os.replace(path.name, name, src_dir_fd=folder, dst_dir_fd=folder)


def _put(root: Path, path: Path, fill: Callable[[BinaryIO], object], mode: int) -> os.stat_result:
    with opened_folder(root, path.parent) as folder:
        new = f"{LEFTOVER}{uuid.uuid4().hex}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(new, flags, 0o600, dir_fd=folder), "wb") as file:
            try:
                fill(file)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                os.replace(new, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=folder)
                raise
            return os.fstat(file.fileno())
