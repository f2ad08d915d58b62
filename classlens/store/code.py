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
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from classlens.store.syntax import BUILTINS, REFUSED, Import, Module, Target, Unit, UnkeyableCode, parse

__all__ = ["CodeFingerprint", "UnkeyableCode", "fingerprint"]

PROJECT = "classlens"
UNKEYED = ("classlens.store", "classlens.progress", "classlens.errors", "_adapter")
"""Moves bytes or talks to the user, and shapes no result. How the store runs jobs has a version of its own in the
key."""

Origin = tuple[Path, int]
"""File and line of what is followed, for messages."""


@dataclass(frozen=True)
class CodeFingerprint:
    """The code that a script runs."""

    digest: str
    """SHA-256 over all parts (hex)."""
    parts: dict[str, str]
    """Short digest of every reached definition, by "module:name"."""
    libraries: frozenset[str]
    """Import names of the libraries that the reached code uses; the standard library is left out."""


def fingerprint(
    script: Path, root: Path, exclude: Collection[str] = UNKEYED, modules: dict[str, Module | None] | None = None
) -> CodeFingerprint:
    """Fingerprint the code that a script runs.

    Comments, docstrings, formatting, the order of functions and definitions that are not reached do not matter.

    Args:
        script: the file that is run.
        root: folder of the project's package; modules beside the script are found too.
        exclude: modules (with all below them) that do not count.
        modules: what was read for another script of the same folder; it is taken as it was, and added to.

    Raises:
        UnkeyableCode: the code cannot be followed; the message names file, line and reason.
    """
    reach = _Reach(script, root, exclude, {} if modules is None else modules)
    parts = dict(sorted(reach.parts.items()))
    digest = _digest(parts)
    return CodeFingerprint(digest, parts, frozenset(reach.libraries))


@cache
def _parsed(path: Path, name: str, source: bytes) -> Module:
    return parse(path, name, source)


class _Reach:
    """Walks from a script to all that it reaches."""

    def __init__(self, script: Path, root: Path, exclude: Collection[str], modules: dict[str, Module | None]) -> None:
        self._script, self._root, self._exclude = script, root, tuple(exclude)
        self._modules = modules
        self._executed: dict[str, Module] = {}
        self._units: set[Unit] = set()
        self._waiting: list[tuple[Module, Unit]] = []
        self._uses: set[tuple[Target, tuple[str, ...]]] = set()
        self.parts: dict[str, str] = {}
        self.libraries: set[str] = set()
        main = self._load(script, "__script__")
        self._execute(main)
        for unit in main.statements:
            self._reach_unit(main, unit)
        while self._waiting:
            self._follow(*self._waiting.pop())
        self._note_orders()

    # Modules

    def _load(self, path: Path, name: str) -> Module:
        return _parsed(path, name, path.read_bytes())

    def _find(self, name: str) -> Module | None:
        """Return a module of the project, None for every other."""
        if name not in self._modules:
            parts = name.split(".")
            # An installed package has libraries beside it.
            beside = parts[0] == PROJECT or self._root.name not in ("dist-packages", "site-packages")
            folders = [self._root, self._script.parent] if beside else [self._script.parent]
            stems = [folder.joinpath(*parts) for folder in folders]
            files = [path for stem in stems for path in (stem / "__init__.py", Path(f"{stem}.py")) if path.is_file()]
            self._modules[name] = self._load(files[0], name) if files else None
        return self._modules[name]

    def _excluded(self, name: str) -> bool:
        return any(name == other or name.startswith(f"{other}.") for other in self._exclude)

    # Importing executes a module and its parent packages

    def _imported(self, target: Target, importer: Module) -> Iterator[Module]:
        """Yield the modules that an import executes."""
        parts = target.module.split(".")
        names = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
        if target.name is not None and self._find(str(target)):
            names.append(str(target))
        for name in names:
            if self._excluded(name):
                return
            module = self._find(name)
            if module is not None:
                yield module
            elif parts[0] == PROJECT:
                raise UnkeyableCode(importer.path, target.line, f"it imports {name}, which does not exist")

    def _import(self, targets: Iterable[Target], importer: Module) -> None:
        for target in targets:
            for module in self._imported(target, importer):
                self._execute(module)

    def _execute(self, module: Module) -> None:
        if module.name in self._executed:
            return
        self._executed[module.name] = module
        for unit in module.statements:
            self._import(unit.executed, module)
            if unit.acts:
                self._reach_unit(module, unit)
        for target in module.unused:
            self._note_library(target)

    # Definitions

    def _reach_name(self, module: Module, name: str) -> None:
        for unit in module.definitions[name]:
            self._reach_unit(module, unit)

    def _reach_unit(self, module: Module, unit: Unit) -> None:
        if unit in self._units or isinstance(unit.node, Import):
            return
        self._units.add(unit)
        if unit.refusal is not None:
            raise UnkeyableCode(module.path, *unit.refusal)
        for name in unit.names or (f"effect {unit.digest[:12]}",):
            place = module.definitions.get(name, [unit]).index(unit)
            self.parts[f"{module.name}:{name}" if place == 0 else f"{module.name}:{name} {place + 1}"] = _short(unit)
        self._waiting.append((module, unit))

    def _follow(self, module: Module, unit: Unit) -> None:
        """Reach what a unit uses."""
        self._import(unit.imported, module)
        for target in unit.imported:
            self._note_library(target)
        for chain in unit.chains:
            origin = module.path, chain.line
            for target in unit.imports.get(chain.base, ()):
                self._resolve(target, chain.attributes, origin)
            if chain.base in module.imports:
                self._resolve_import(module, chain.base, chain.attributes, origin)
            if chain.base in module.definitions:
                self._reach_name(module, chain.base)

    def _resolve_import(self, module: Module, name: str, attributes: tuple[str, ...], origin: Origin) -> None:
        """Reach what lies behind a name that a module imports."""
        # The statement that uses an imported name does not say where it comes from; this part does.
        self.parts[f"{module.name}:import {name}"] = _names(module.imports[name])
        for target in module.imports[name]:
            self._note_library(target)
            self._resolve(target, attributes, origin)

    def _resolve(self, target: Target, attributes: tuple[str, ...], origin: Origin) -> None:
        """Reach what lies at the end of a chain of attributes of an import."""
        if self._excluded(target.module) or (target, attributes) in self._uses:
            return
        self._uses.add((target, attributes))
        module = self._find(target.module)
        if target.name is not None:
            attributes = (target.name, *attributes)
        if not attributes:
            if module is not None:
                self._reach_all(module, origin)
            return
        name, *others = attributes
        below = f"{target.module}.{name}"
        if self._excluded(below):
            return
        submodule = self._find(below)
        if submodule is not None:
            self._execute(submodule)
            self._resolve(Target(below), tuple(others), origin)
        if module is not None:
            self._execute(module)
            # A package may have a submodule and something else of one name.
            if submodule is None or name in module.definitions or name in module.imports:
                self._reach_in(module, name, tuple(others), origin)

    def _reach_in(self, module: Module, name: str, attributes: tuple[str, ...], origin: Origin) -> None:
        """Reach a name of another module, which may itself have it from elsewhere."""
        if name in module.definitions:
            self._reach_name(module, name)
        if name in module.imports:
            self._resolve_import(module, name, attributes, origin)
        if name in module.definitions or name in module.imports:
            return
        if name in REFUSED:
            raise UnkeyableCode(*origin, f"{module.name}.{name} {REFUSED[name]}")
        if "__getattr__" in module.definitions:
            self._reach_name(module, "__getattr__")
        elif name.startswith("__"):
            self._reach_all(module, origin)
        else:
            raise UnkeyableCode(*origin, f"it takes {name} from {module.name}, which does not define it")

    def _reach_all(self, module: Module, origin: Origin) -> None:
        """Reach all of a module that is used as an object: any name may be read from it."""
        self._execute(module)
        for name in module.definitions:
            self._reach_name(module, name)
        for name in module.imports:
            self._resolve_import(module, name, (), origin)
        if module.is_package:
            for path in sorted(module.path.parent.iterdir()):
                if path.stem != "__init__":
                    self._resolve(Target(f"{module.name}.{path.stem}"), (), origin)

    def _note_library(self, target: Target) -> None:
        top = target.module.partition(".")[0]
        ours = any(map(self._find, (top, target.module, str(target)))) or top == PROJECT or self._excluded(top)
        if not ours and top not in sys.stdlib_module_names:
            self.libraries.add(top)

    # Order

    def _note_orders(self) -> None:
        """Note in which order statements run, wherever another order may give another result."""
        modules = list(self._executed.values())
        imported = {
            unit: [other.name for target in unit.executed for other in self._imported(target, module)]
            for module in modules
            for unit in module.statements
        }
        acting: set[str] = set()
        grown = {module.name for module in modules if any(unit.acts for unit in module.statements)}
        while grown != acting:
            acting = grown
            importers = {module.name for module in modules for unit in module.statements if acting & {*imported[unit]}}
            grown = acting | importers
        for module in modules:
            steps = self._steps(module, lambda unit: [name for name in imported[unit] if name in acting])
            if len(steps) > 1:
                self.parts[f"{module.name}:order of statements"] = _digest(steps)[:16]

    def _steps(self, module: Module, acting: Callable[[Unit], list[str]]) -> list[str]:
        """Return what a module does when it is imported, in order; nothing if any order would do.

        Args:
            module: the module.
            acting: tells which modules that a unit imports do something.
        """
        bindings = Counter(name for unit in module.statements for name in {*unit.names, *unit.global_imports})
        bindings.update(BUILTINS)  # what a name means that is bound later
        steps: list[str] = []
        matters = False
        for unit in module.statements:
            new = [name for name in dict.fromkeys(acting(unit)) if name not in steps]
            if isinstance(unit.node, Import):
                taken = [name for name in unit.imports if f"{module.name}:import {name}" in self.parts]
                new += [f"{name} is {_names(unit.imports[name])}" for name in taken if bindings[name] > 1]
            matters |= bool(new)
            again = any(bindings[name] > 1 for name in unit.names)
            if unit in self._units and (again or not unit.waits):
                new.append(_short(unit))
                matters |= unit.acts or again
            steps += new
        return steps if matters else []


def _names(targets: Iterable[Target]) -> str:
    return " ".join(sorted(map(str, targets)))


def _short(unit: Unit) -> str:
    return unit.digest[:16]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
