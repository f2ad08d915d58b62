"""Which code a job runs: its script and every definition that it reaches inside the project.

Reaching is decided by syntax trees, at the level of top-level definitions, so that an edit of one function leaves
alone the jobs that use another function of the same file. It errs on the side of too much: a name that looks like a
use is one; a statement that may have a side effect counts wherever its module is imported; a class counts as a
whole. What no syntax tree can follow is refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from classlens.store.syntax import Chain, Module, Target, Unit, UnkeyableCode, parse

__all__ = ["CodeFingerprint", "UnkeyableCode", "fingerprint"]

PROJECT = "classlens"
UNKEYED = ("classlens.store", "classlens.progress", "classlens.errors", "_adapter")
"""Moves bytes or talks to the user, and shapes no result. How the store runs jobs has a version of its own in the
key."""


@dataclass(frozen=True)
class CodeFingerprint:
    """The code that a script runs."""

    digest: str
    """SHA-256 over all parts (hex)."""
    parts: dict[str, str]
    """Short digest of every reached definition, by "module:name"."""
    libraries: frozenset[str]
    """Import names of the libraries that the reached code uses; the standard library is left out."""


def fingerprint(script: Path, root: Path, exclude: Collection[str] = UNKEYED) -> CodeFingerprint:
    """Fingerprint the code that a script runs.

    Comments, docstrings, formatting, the order of definitions and definitions that are not reached do not matter.

    Args:
        script: the file that is run.
        root: folder of the project's package; modules beside the script are found too.
        exclude: modules (with all below them) that do not count.

    Raises:
        UnkeyableCode: the code cannot be followed; the message names file, line and reason.
    """
    reach = _Reach(script, root, exclude)
    parts = dict(sorted(reach.parts.items()))
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return CodeFingerprint(digest, parts, frozenset(reach.libraries))


@cache
def _parsed(path: Path, name: str, _time: int, _size: int) -> Module:
    return parse(path, name)


class _Reach:
    """Walks from a script to all that it reaches."""

    def __init__(self, script: Path, root: Path, exclude: Collection[str]) -> None:
        self._script, self._root, self._exclude = script, root, tuple(exclude)
        self._modules: dict[str, Module | None] = {}
        self._imported: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self.parts: dict[str, str] = {}
        self.libraries: set[str] = set()
        main = self._load(script, "__script__")
        self._execute(main)
        self._whole(main)

    # Modules

    def _load(self, path: Path, name: str) -> Module:
        stat = path.stat()
        return _parsed(path, name, stat.st_mtime_ns, stat.st_size)

    def _find(self, name: str) -> Module | None:
        """Return a module of the project, None for every other."""
        if name not in self._modules:
            parts = name.split(".")
            folder = self._root if parts[0] == PROJECT else self._script.parent
            stem = folder.joinpath(*parts)
            files = [path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()]
            self._modules[name] = self._load(files[0], name) if files else None
        return self._modules[name]

    def _excluded(self, name: str) -> bool:
        return any(name == other or name.startswith(f"{other}.") for other in self._exclude)

    # Importing executes a module and its parent packages

    def _import(self, name: str, importer: Module) -> None:
        if self._excluded(name):
            return
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            module = self._find(".".join(parts[:depth]))
            if module is not None:
                self._execute(module)
            elif parts[0] == PROJECT:
                raise UnkeyableCode(importer.path, 0, f"it imports {name}, which does not exist")

    def _execute(self, module: Module) -> None:
        if module.name in self._imported:
            return
        self._imported.add(module.name)
        for target in module.executed:
            self._import_target(target, module)
        for unit in module.effects:
            self._reach_unit(module, f"effect {unit.digest[:12]}", unit)

    def _import_target(self, target: Target, importer: Module) -> None:
        self._import(target.module, importer)
        if target.name is not None and self._find(f"{target.module}.{target.name}"):
            self._import(f"{target.module}.{target.name}", importer)

    # Definitions

    def _whole(self, module: Module) -> None:
        for name in module.definitions:
            self._reach_name(module, name)
        for unit in module.effects:
            self._reach_unit(module, f"effect {unit.digest[:12]}", unit)

    def _reach_name(self, module: Module, name: str) -> None:
        if (module.name, name) in self._seen:
            return
        self._seen.add((module.name, name))
        for index, unit in enumerate(module.definitions[name]):
            self._reach_unit(module, name if index == 0 else f"{name} {index + 1}", unit)

    def _reach_unit(self, module: Module, label: str, unit: Unit) -> None:
        label = f"{module.name}:{label}"
        if label in self.parts:
            return
        self.parts[label] = unit.digest[:16]
        for target in unit.imports.values():
            self._import_target(target, module)
            self._note_library(target)
        for chain in unit.chains:
            self._follow(module, unit, chain)

    def _follow(self, module: Module, unit: Unit, chain: Chain) -> None:
        """Reach what a use of a name stands for."""
        target = unit.imports.get(chain.base) or module.imports.get(chain.base)
        if target is not None:
            # The statement that uses an imported name does not say where it comes from; this part does.
            self.parts[f"{module.name}:import {chain.base}"] = str(target)
            self._note_library(target)
            self._resolve(target, chain.attributes, module)
        if chain.base in module.definitions:
            self._reach_name(module, chain.base)

    def _resolve(self, target: Target, attributes: tuple[str, ...], importer: Module) -> None:
        """Reach what lies at the end of a chain of attributes of an import."""
        if self._excluded(target.module) or (target.name and self._excluded(str(target))):
            return
        if target.name is not None:
            if self._find(str(target)) is not None:
                self._resolve(Target(str(target)), attributes, importer)
            elif (module := self._find(target.module)) is not None:
                self._reach_in(module, target.name, attributes, importer)
            return
        module = self._find(target.module)
        if module is None:
            return
        if not attributes:
            self._whole(module)
        elif self._find(f"{target.module}.{attributes[0]}") is not None:
            self._resolve(Target(f"{target.module}.{attributes[0]}"), attributes[1:], importer)
        else:
            self._reach_in(module, attributes[0], attributes[1:], importer)

    def _reach_in(self, module: Module, name: str, attributes: tuple[str, ...], importer: Module) -> None:
        """Reach a name of another module, which may itself have it from elsewhere."""
        if name in module.definitions:
            self._reach_name(module, name)
        if name in module.imports:
            self.parts[f"{module.name}:import {name}"] = str(module.imports[name])
            self._note_library(module.imports[name])
            self._resolve(module.imports[name], attributes, module)
        elif name not in module.definitions and not name.startswith("__"):
            raise UnkeyableCode(importer.path, 0, f"it imports {name} from {module.name}, which does not define it")

    def _note_library(self, target: Target) -> None:
        top = target.module.partition(".")[0]
        if (
            top != PROJECT
            and top not in sys.stdlib_module_names
            and self._find(top) is None
            and not self._excluded(top)
        ):
            self.libraries.add(top)
