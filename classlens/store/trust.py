"""What a store may tell. Others may write to a shared store, so no string from it becomes a path unchecked.

Keys and digests are 64 hex digits, a listed result lies under the working directory's results/, and what is read,
replaced or removed in the store is a plain file in a plain folder: a link could lead out of it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path

_HEX = re.compile("[0-9a-f]{64}")
RESULTS = "results"


def require_digest(value: object) -> str:
    """Return a key or content digest.

    Raises:
        ValueError: it is anything but 64 hex digits.
    """
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f"{value!r} is no digest")
    return value


def is_digest(value: object) -> bool:
    """Tell whether a value is 64 hex digits."""
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def results_of(working: Path) -> Callable[[object], bool]:
    """Return what tells whether a listed path is one of a file under a working directory's results/.

    Such a path is relative, normalised, and no link leads out of the folder. results/ may itself be a link: only the
    directory's owner can have made it.
    """
    results = os.path.realpath(working / RESULTS)

    @cache
    def is_inside(folder: str) -> bool:
        return f"{os.path.realpath(working / folder)}{os.sep}".startswith(f"{results}{os.sep}")

    def is_result(path: object) -> bool:
        if not isinstance(path, str) or os.path.normpath(path) != path or not _may_be_a_path(path):
            return False
        folder, name = os.path.split(path)
        return bool(name) and folder.split(os.sep)[0] == RESULTS and is_inside(folder)

    return is_result


def _may_be_a_path(text: str) -> bool:
    """Tell whether a file system can have a path; what no encoding has, and what is too long, it has not."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return b"\0" not in encoded and len(encoded) < 4096 and all(len(name) < 256 for name in encoded.split(b"/"))


def is_plain_file(path: Path) -> bool:
    """Tell whether there is a file that is no link, pipe or folder."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_own_folder(path: Path) -> bool:
    """Tell whether there is a folder, no link to one, in which this user alone may write."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def is_trusted(found: os.stat_result, working: Path) -> bool:
    """Tell whether only this user or a working directory's owner can have written a file.

    Args:
        found: what the system says of the file.
        working: the working directory.
    """
    writers = {os.getuid(), working.stat().st_uid} if working.exists() else {os.getuid()}
    return stat.S_ISREG(found.st_mode) and found.st_uid in writers and not found.st_mode & 0o022
