"""In which order images are read."""

from __future__ import annotations

from collections.abc import Sequence


def as_stored(files: Sequence[str]) -> list[int]:
    """Return the indices of images in the order in which they lie on the disk, given their file names in stimuli.csv.

    Images that share a file are then read from its beginning to its end, whatever their classes.
    """
    return sorted(range(len(files)), key=files.__getitem__)
