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
MISPLACED = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
"""What a link, file or folder in the place of something else ends in."""
FULL = {errno.ENOSPC, errno.EDQUOT}
ANOTHER_STORE = "use another store (`store:` in the config, or CLASSLENS_STORE)"


@contextmanager
def explained_disk_errors(store: Path, folder: Path | None = None, needed: int | None = None) -> Iterator[None]:
    """Raise an InputError where access is denied or a disk is full; other errors pass.

    Args:
        store: the store's folder.
        folder: where the context writes; default: the store.
        needed: bytes that it writes, if known.
    """
    try:
        yield
    except OSError as error:
        named = error.filename2 or error.filename
        path = Path(os.fsdecode(named)) if isinstance(named, (str, bytes)) else folder or store
        if error.errno in DENIED:
            raise InputError(_denied(path.absolute(), store, error)) from error
        # HDF5 passes the system's words on, but not always its number.
        if error.errno in FULL or "No space left on device" in str(error):
            raise InputError(_full((folder or store).absolute(), store, needed)) from error
        if error.errno in MISPLACED and path.absolute().is_relative_to(store.absolute()):
            raise InputError(
                f"{path.absolute()}: {(error.strerror or str(error)).lower()}; a store has no such thing there: "
                f"remove it, or {ANOTHER_STORE}"
            ) from error
        raise


def user_name(number: int) -> str:
    """Return the name of a user, the number itself where none is known (as in many containers)."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _denied(path: Path, store: Path, error: OSError) -> str:
    there = _nearest(path)
    # What may be done with a file depends on its folder, too.
    places = [there] if there.is_dir() else [there.parent, there]
    found = [(place, place.lstat()) for place in places]
    described = "; ".join(
        f"{place} has owner {user_name(of.st_uid)} and mode {stat.S_IMODE(of.st_mode):04o}" for place, of in found
    )
    way_out = (
        f"ask its owner for access to the whole store, or {ANOTHER_STORE}"
        if path.is_relative_to(store)
        else "ask its owner for access, or change its mode (chmod)"
    )
    return f"{path}: {(error.strerror or str(error)).lower()}; {described}; you are {user_name(os.getuid())}; {way_out}"


def _full(folder: Path, store: Path, needed: int | None) -> str:
    free = shutil.disk_usage(_nearest(folder)).free
    sizes = f"{free:,} bytes are free" if needed is None else f"{needed:,} bytes are needed, {free:,} are free"
    other = ANOTHER_STORE if folder.is_relative_to(store) else "work in another directory"
    return f"the disk of {folder} is full: {sizes}; make room (`classlens store gc` may), or {other}"


def _nearest(path: Path) -> Path:
    """Return a path, or the nearest folder above it that can be looked at."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))
