"""Pictures that a user names: files, folders, flat or nested, and patterns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from classlens.data.class_folders import SUFFIXES, SYSTEM_FOLDERS
from classlens.errors import InputError


def given_pictures(arguments: Sequence[str | Path]) -> list[Path]:
    """Return the files of pictures, each once, in the order of arguments; those of a folder or a pattern sorted.

    Of a folder, what its suffix says is an image, in folders of it, too; hidden and system folders are left out. A file
    that is named is taken whatever its suffix. Nothing is decoded.

    Args:
        arguments: files, folders and patterns (`photos/*.jpg`, `photos/**/*.png`); `~` is the user's home.

    Raises:
        InputError: there is no such file, a folder holds no pictures, or nothing fits a pattern.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument).expanduser()
        if path.is_dir():
            pictures = _in_folder(path)
            if not pictures:
                raise InputError(f"there are no pictures in the folder {path}; give files or folders of pictures")
        elif path.exists():
            pictures = [path]
        elif has_magic(str(path)):
            matches = sorted(Path(match) for match in glob(str(path), recursive=True))
            pictures = [match for match in matches if match.suffix.lower() in SUFFIXES and match.is_file()]
            if not pictures:
                raise InputError(f"no picture fits the pattern {path}; give files or folders of pictures")
        else:
            raise InputError(f"there is no picture {path}; give files or folders of pictures")
        found += pictures
    if not found:
        raise InputError("there are no pictures; give files or folders of pictures")
    return list(dict.fromkeys(found))


def _in_folder(folder: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS]
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES and Path(parent, name).is_file()
        ]
    return sorted(found)
