"""What a file system refuses, said so that a user can act on it: path, owner, mode, free bytes, a way out."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classlens.errors import InputError

DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
FULL = {errno.ENOSPC, errno.EDQUOT}
MISPLACED = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
"""What a link, file or folder in the place of something else ends in."""
ANOTHER_STORE = "use another store (`store:` in the config, or CLASSLENS_STORE)"


@contextmanager
def explained_disk_errors(store: Path, folder: Path | None = None, needed: int | None = None) -> Iterator[None]:
    """Raise an InputError where access is denied or a disk is full; other errors pass.

    The context writes to a folder (default: that of the store), and `needed` bytes, if that is known.
    """
    try:
        yield
    except OSError as error:
        folder = (folder or store).absolute()
        named = error.filename2 or error.filename
        path = Path(os.fsdecode(named)).absolute() if isinstance(named, (str, bytes)) else folder
        what = f"{path}: {(error.strerror or str(error)).lower()}"
        if error.errno in DENIED:
            is_stored = path.is_relative_to(store)
            way_out = f" to the whole store, or {ANOTHER_STORE}" if is_stored else ", or change its mode (chmod)"
            raise InputError(f"{what}; {_owners(path)}; ask its owner for access{way_out}") from error
        # HDF5 passes the system's words on, but not always its number.
        if error.errno in FULL or "No space left on device" in str(error):
            free = shutil.disk_usage(_nearest(folder)).free
            sizes = f"{free:,} bytes are free" if needed is None else f"{needed:,} bytes are needed, {free:,} are free"
            other = ANOTHER_STORE if folder.is_relative_to(store) else "work in another directory"
            way_out = f"make room (`classlens store gc` may), or {other}"
            raise InputError(f"the disk of {folder} is full: {sizes}; {way_out}") from error
        if error.errno in MISPLACED and path.is_relative_to(store.absolute()):
            raise InputError(f"{what}; a store has no such thing there: remove it, or {ANOTHER_STORE}") from error
        raise


@contextmanager
def going_on_if_denied() -> Iterator[None]:
    """Leave undone what may not be written, as in a store or working directory that may only be read."""
    try:
        yield
    except OSError as error:
        if error.errno not in DENIED:
            raise


def user_name(number: int) -> str:
    """Return the name of a user, the number itself where none is known (as in many containers)."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _owners(path: Path) -> str:
    """Say whose a path is, or the nearest folder above it that is there."""
    there = _nearest(path)  # what may be done with a file depends on its folder, too
    found = [(place, place.lstat()) for place in ([there] if there.is_dir() else [there.parent, there])]
    said = [f"{place} has owner {user_name(of.st_uid)} and mode {stat.S_IMODE(of.st_mode):04o}" for place, of in found]
    return "; ".join([*said, f"you are {user_name(os.getuid())}"])


def _nearest(path: Path) -> Path:
    """Return a path, or the nearest folder above it that can be looked at."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))
