"""One spelling for names that are the same to a reader."""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """Return a text in Unicode's composed form (NFC): file names that come from macOS are decomposed."""
    return unicodedata.normalize("NFC", text)
