"""Text files of data sets."""

from __future__ import annotations

from pathlib import Path

from classlens.errors import InputError


def read_text(path: Path) -> str:
    """Return a file's text, with or without a byte order mark.

    Raises:
        InputError: it is not UTF-8.
        FileNotFoundError: it is not there.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
