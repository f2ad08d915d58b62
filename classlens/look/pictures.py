"""Which pictures a command is about: files, folders or globs, evenly chosen where there are many."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from classlens.data.class_folders import SUFFIXES, SYSTEM_FOLDERS
from classlens.data.images import BROKEN
from classlens.errors import InputError


def find_pictures(given: Sequence[str], most: int) -> tuple[dict[Path, str], int]:
    """Find pictures, and choose evenly among them.

    Args:
        given: files, folders (flat or nested; hidden files and those that are no pictures by their suffix are passed
            over) or globs.
        most: pictures to choose; all are taken where there are no more.

    Returns:
        the chosen ones, each with its name for display (of files in a folder, from that folder on), and how many there
        are of which they were chosen.

    Raises:
        InputError: something is not there, a folder holds no pictures, or a chosen file is none.
    """
    found: dict[Path, str] = {}
    for one in given:
        for path in _matches(one):
            found |= dict(_in_folder(path)) if path.is_dir() else {path: path.name}
    paths = list(found)
    count = min(most, len(paths))
    chosen = [paths[place * len(paths) // count] for place in range(count)]
    for path in chosen:
        _require_picture(path)
    return {path: found[path] for path in chosen}, len(paths)


def _matches(given: str) -> list[Path]:
    path = Path(given).expanduser()
    if path.exists():
        return [path]
    matched = [Path(one) for one in sorted(glob.glob(str(path), recursive=True))]
    if not matched:
        raise InputError(f"{given}: there is no such file or folder, and no file matches it; give pictures that exist")
    return matched


def _in_folder(folder: Path) -> Iterator[tuple[Path, str]]:
    pictures = [path for path in sorted(folder.rglob("*")) if _may_be_picture(path.relative_to(folder), path)]
    if not pictures:
        raise InputError(f"{folder} holds no pictures; give a folder with .jpg, .png or other files that Pillow opens")
    return ((path, str(Path(folder.resolve().name, path.relative_to(folder)))) for path in pictures)


def _may_be_picture(place: Path, path: Path) -> bool:
    seen = not any(part.startswith(".") or part.lower() in SYSTEM_FOLDERS for part in place.parts)
    return seen and path.suffix.lower() in SUFFIXES and path.is_file()


def _require_picture(path: Path) -> None:
    """Refuse what is none before a model is loaded; only the file's beginning is read."""
    try:
        with Image.open(path):
            pass
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no picture that can be read ({error}); leave it out or replace it") from error
