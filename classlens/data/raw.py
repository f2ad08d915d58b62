"""Data sets made of image files: how files are read and refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from classlens.data.source import Source
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        InputError: it is missing, no regular file (reading a named pipe would wait for ever), or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is not a regular file; replace it, or take it out of the data set")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); replace it") from error


def read_text(path: Path) -> str:
    """Return a file's text, with or without a byte order mark.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, by name. Entries know what is a folder; asking a network about each takes long.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be read ({error.strerror}); look at its owner and mode"
        ) from error


LONGEST_NAME = 255
"""Bytes of a file's name, on the usual file systems."""


def is_plain_name(text: str) -> bool:
    """Tell whether a text names something in a folder, and leads nowhere else."""
    return text not in ("", "..") and Path(text).name == text and len(os.fsencode(text)) <= LONGEST_NAME


def require_text(name: str) -> None:
    """Refuse a file's name that is no text; tables could not hold it.

    Raises:
        InputError: it is not UTF-8, or holds a carriage return, which ends a line of a table for some readers.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"the name {os.fsencode(name)!r} is not UTF-8; rename the file or folder") from None
    if "\r" in name:
        raise InputError(f"the name {name!r} holds a carriage return; rename the file or folder")


class ImageFiles(Source):
    """Images in a file each, and masks in another."""

    @property
    def folder(self) -> Path:
        """Where the file names of stimuli.csv start."""
        return self.root

    def mask_path(self, file: str) -> Path:
        """Return where an image's mask lies.

        Raises:
            InputError: it does not exist, or no image has a mask.
        """
        raise self.no_masks()

    def image_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the files of the chosen images."""
        return [str(self.folder / item.file) for item in chosen]

    def mask_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the files of the chosen evaluation images' masks."""
        return [str(self.mask_path(item.file)) for item in chosen if item.split == "evaluation"]

    def content(self, file: str) -> bytes:
        """Read the image file."""
        return read_bytes(self.folder / file)

    def decode(self, content: bytes, file: str) -> Image.Image:
        """Decode the image file."""
        from classlens.data.bands import open_bands  # Pillow is for decoding alone
        from classlens.data.images import open_image

        if self.channels:
            return open_bands(content, self.folder / file, self.channels, self.value_range)
        return open_image(content, self.folder / file, self.value_range)

    def mask_content(self, file: str, class_id: str) -> bytes:
        """Read the mask file."""
        return read_bytes(self.mask_path(file))
