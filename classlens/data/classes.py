"""The list of classes that a user may put beside images: classes.txt, whose line number is the class index."""

from __future__ import annotations

from pathlib import Path

from classlens.data.raw import read_text
from classlens.errors import InputError

CLASSES = "classes.txt"


def read_classes(path: Path) -> dict[str, str]:
    """Return the names of classes by id, in the order of their indices; each line is an id and, after a space, a name.

    Args:
        path: the list.

    Raises:
        InputError: it cannot be read, or names a class twice.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    names = {class_id: text or class_id for class_id, _, text in (line.partition(" ") for line in lines)}
    if len(names) < len(lines):
        raise InputError(f"{path} names a class twice; each line is a class of its own")
    return names
