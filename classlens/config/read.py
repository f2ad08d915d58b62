"""Read a config file, and those that it starts from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classlens import yaml12
from classlens.errors import InputError

EXTENDS = "extends"
"""Key of a config file that names the one it starts from."""
MOST_VALUES = 100_000


def read_words(path: Path | str) -> dict[str, Any]:
    """Return what a config file says on top of those that it starts from, its words without quotes as `yaml12.Plain`.

    Raises:
        InputError: `read_chain` refuses it.
    """
    return merged(read_chain(path))


def merged(chain: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return what the files of `read_chain` say together."""
    together: dict[str, Any] = {}
    for _, words in reversed(chain):
        together = merge(together, words)
    return together


def read_chain(path: Path | str) -> list[tuple[Path, dict[str, Any]]]:
    """Return a config file and those that it starts from, each with what it says itself, that file first.

    Raises:
        InputError: a file is missing, is not YAML, gives a key twice, has no sections, or starts from itself.
    """
    chain: list[tuple[Path, dict[str, Any]]] = []
    file, whose = Path(path), f"config file {path}"
    while True:
        words = _read(file, whose)
        base = words.pop(EXTENDS, None)
        if chain or base is not None:
            require_bounded(words)
        chain.append((file, words))
        if base is None:
            return chain
        if not isinstance(base, str) or is_null(base):
            raise InputError(f"config file {file}: {EXTENDS}: give the path of one config file")
        whose, file = f"config file {file}: {EXTENDS}", file.parent / os.path.expanduser(base)
        if file.resolve() in [known.resolve() for known, _ in chain]:
            names = " extends ".join(str(known) for known in (*(known for known, _ in chain), file))
            raise InputError(f"config file {path}: it would start from itself: {names}; remove one `{EXTENDS}`")


def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config on top of another one; neither is changed.

    Sections are merged at every depth, all else is replaced, lists as a whole. Null in the place of a section of
    `base` leaves the section out; elsewhere it is a value like any other.
    """
    together = dict(base)
    for key, value in own.items():
        below = base.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            together[key] = merge(below, value)
        elif isinstance(below, Mapping) and is_null(value):
            del together[key]
        else:
            together[key] = value
    return together


def changes(base: Mapping[str, Any], own: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys, with dots between, that a config has otherwise than the one below it, and what it says there."""
    for key, value in own.items():
        below = base.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            yield from changes(below, value, f"{path}{key}.")
        elif key not in base or value != below:
            yield f"{path}{key}", value


def is_null(value: Any) -> bool:
    """Tell whether a value of a config file is null, however it is written."""
    return value is None or (isinstance(value, yaml12.Plain) and yaml12.meaning(value) is None)


def require_bounded(raw: Any) -> None:
    """Refuse what aliases (`*name`) unfold to more values than a config has; YAML itself keeps each only once."""
    counts: dict[int, float] = {}

    def count(value: Any) -> float:
        if not isinstance(value, Mapping | list):
            return 1
        if id(value) not in counts:
            counts[id(value)] = math.inf  # of what holds itself
            counts[id(value)] = 1 + sum(map(count, value.values() if isinstance(value, Mapping) else value))
        return counts[id(value)]

    if count(raw) > MOST_VALUES:
        raise InputError(
            f"config: aliases (*name) make it more than {MOST_VALUES:,} values long; write out what is meant"
        )


def _read(path: Path, whose: str) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{whose}: {error}") from error
    words = yaml12.load(content, f"config file {path}")
    if not isinstance(words, dict):
        raise InputError(f"config file {path}: give at least the sections datasets and models")
    return words
