"""Numbers with their units, for people."""

from __future__ import annotations


def written_size(count: float) -> str:
    """Return a number of bytes as people write it, e.g. "1.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
