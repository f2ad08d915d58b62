"""Which code a job runs: its own modules, and every module of the project that these import, directly or not.

A module counts as a whole, and an import counts wherever it stands: what changes for different reasons belongs into
different modules. What a reader of import statements cannot follow is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from classlens.store.module import UnkeyableCode, read_module

PROJECT = "classlens"
UNKEYED = ("classlens.store", "classlens.progress", "classlens.errors", "classlens.logs", "classlens.shipped")
"""Modules, with all below them, that move bytes or talk to the user, and shape no result."""

WITH_TORCH = {"triton"}
"""Libraries that come with torch where they are of use: torch's version tells theirs."""


@dataclass(frozen=True)
class Fingerprint:
    """The code that a job runs."""

    digest: str
    """SHA-256 over all modules (hex)."""
    modules: dict[str, str]
    """Short digest of every module, by name."""
    libraries: frozenset[str]
    """Import names of the libraries that these modules import; the standard library is left out."""


def fingerprint(entries: Iterable[str], root: Path, exclude: Collection[str] = UNKEYED) -> Fingerprint:
    """Fingerprint the code that is reached from modules; comments, docstrings and formatting do not matter.

    Packages count where a module below them is imported. The project's own does not: it offers names to users, and
    is refused to modules, as every import of a package is (what is read from it then may be any module below it).

    Args:
        entries: names of modules, in any order.
        root: folder of the project's package.
        exclude: modules (with all below them) that do not count when they are imported.

    Raises:
        UnkeyableCode: the code cannot be followed; the message names file, line and reason.
    """
    digests: dict[str, str] = {}
    libraries: set[str] = set()
    waiting = [(name, root, 0) for name in entries]
    while waiting:
        name, importer, line = waiting.pop()
        if name in digests:
            continue
        path = _file(root, name)
        if path is None:
            raise UnkeyableCode(importer, line, f"there is no module {name}")
        digests[name], imports = read_module(path)
        package = name.rpartition(".")[0]
        if "." in package:
            waiting.append((package, path, 1))
        for one in imports:
            top = one.source.partition(".")[0]
            target = one.full if _file(root, one.full) else one.source
            if top != PROJECT:
                libraries |= {top} - sys.stdlib_module_names - WITH_TORCH
            elif not any(f"{target}.".startswith(f"{other}.") for other in exclude):
                if (_file(root, target) or path).name == "__init__.py":
                    raise UnkeyableCode(path, one.line, f"it imports the package {target}; import modules with `from`")
                waiting.append((target, path, one.line))
    digests = dict(sorted(digests.items()))
    digest = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    return Fingerprint(digest, {name: full[:16] for name, full in digests.items()}, frozenset(libraries))


def _file(root: Path, name: str) -> Path | None:
    # Asked thousands of times before anything is planned, so by plain strings.
    stem = os.path.join(root, *name.split("."))
    return next(
        (Path(path) for path in (os.path.join(stem, "__init__.py"), f"{stem}.py") if os.path.isfile(path)), None
    )
