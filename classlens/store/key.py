"""What a job's result depends on, as one digest."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from classlens.store.code import CodeFingerprint, fingerprint
from classlens.store.digest import digest_json
from classlens.store.syntax import Module

FORMAT = 1
"""Raised when the store itself changes what a key or a record means."""

DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "PyYAML"}
"""Import names that differ from the distribution's name."""


@dataclass(frozen=True)
class JobKey:
    """The parts of a job's key.

    Wildcards, paths and file names are no parts: a job is given nothing but what stands here, so two jobs with equal
    keys cannot differ in their results.
    """

    code: str
    """Digest of the code that the job runs."""
    definitions: dict[str, str] = field(repr=False)
    """The same, definition by definition."""
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
        # Not by `asdict`, which copies: the definitions alone are hundreds, and count by the digest of the code.
        parts = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "definitions"}
        return digest_json([FORMAT, parts])


def static_key(code: CodeFingerprint, config: Any) -> JobKey:
    """Return the part of a key that is known before the inputs are."""
    return JobKey(code.digest, code.parts, library_versions(code.libraries), config)


def code_key(script: Path, root: Path, modules: dict[str, Module | None] | None = None) -> JobKey:
    """Return the part of a key that follows from the code alone; see `fingerprint`."""
    return static_key(fingerprint(script, root, modules=modules), None)


def library_versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of libraries by import name, and Python's own.

    Nothing is imported. A library that is not installed here counts as "missing": the machine that plans jobs need
    not be able to run them.
    """
    versions = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in libraries:
        try:
            versions[name] = metadata.version(DISTRIBUTIONS.get(name, name))
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


def differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> list[str]:
    """Describe where two nested tables differ, a line for each leaf."""
    lines = []
    for key in sorted({*before, *after}):
        where = f"{path}.{key}" if path else str(key)
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, where)
        elif key not in after:
            lines.append(f"{where} is gone (was {old})")
        elif key not in before:
            lines.append(f"{where} is new ({new})")
        else:
            lines.append(f"{where}: {old} -> {new}")
    return lines
