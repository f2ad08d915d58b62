"""What a job's result depends on, as one digest."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from classlens.digest import digest_bytes, digest_json
from classlens.store.code import Known, reached

FORMAT = 2
"""Raised when the store itself changes what a key or a record means."""

DISTRIBUTIONS = {"PIL": "pillow", "open_clip": "open_clip_torch", "sklearn": "scikit-learn", "yaml": "PyYAML"}
"""Import names that differ from the distribution's name."""


@dataclass(frozen=True)
class JobKey:
    """The parts of a job's key.

    Wildcards, paths and file names are no parts: a job is given nothing but what stands here, so two jobs with equal
    keys cannot differ in their results.
    """

    functions: dict[str, str]
    """What is called ("module:function"): under "" the job's own, others by the keyword that it gets them by."""
    code: str
    """Digest of the code that these run."""
    modules: dict[str, str] = field(repr=False)
    """The same, cut off, module by module."""
    libraries: dict[str, str]
    """Versions of the libraries that this code imports."""
    config: Any
    """The part of the config that the job sees."""
    inputs: dict[str, list[str]] = field(default_factory=dict)
    """Content digests of its inputs, by the names that the job knows them by."""
    outputs: list[str] = field(default_factory=list)
    """Names of its outputs with their suffixes."""

    @property
    def digest(self) -> str:
        """The key itself (hex)."""
        # Not by `asdict`, which copies: the modules count by the digest of the code.
        parts = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "modules"}
        return digest_json([FORMAT, parts])


def code_key(functions: Mapping[str, str], root: Path, known: Known | None = None) -> JobKey:
    """Return the part of a key that follows from the code alone: `functions` are those of a `JobKey`, below `root`.

    What is `known` of code is not read again. Raises an UnkeyableCode as `reached` does.
    """
    modules, libraries = reached([function.partition(":")[0] for function in functions.values()], root, known=known)
    code = digest_bytes(json.dumps(modules).encode())
    short = {name: digest[:16] for name, digest in modules.items()}
    return JobKey(dict(functions), code, short, library_versions(libraries), None)


def library_versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of libraries by import name, and Python's own.

    Nothing is imported. A library that is not installed here counts as "missing": the machine that plans jobs need
    not be able to run them.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python, **{name: _version(DISTRIBUTIONS.get(name, name)) for name in libraries}}


@cache  # Reading it takes 3 ms, and dozens of rules ask for the same.
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"
