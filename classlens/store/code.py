"""Which code a job runs: its own modules, and every module of the project that these import, directly or not.

A module counts as a whole, and an import counts wherever it stands: what changes for different reasons belongs into
different modules. What a reader of import statements cannot follow is refused. What was read is remembered in the
working directory.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from classlens.digest import digest_bytes, digest_file
from classlens.errors import InputError
from classlens.shipped import CACHE
from classlens.store.memory import FileMemory

PROJECT = "classlens"
READER = digest_bytes(f"{sys.version} {digest_file(__file__)}".encode())
"""What digests depend on beside the modules: how these are parsed and read."""
UNKEYED = ("classlens.store", "classlens.progress", "classlens.errors", "classlens.logs", "classlens.shipped")
"""Modules, with all below them, that move bytes or talk to the user, and shape no result."""
WITH_TORCH = {"triton"}
"""Libraries that come with torch where they are of use: torch's version tells theirs."""

RUNS = "runs code that cannot be followed; import what is needed by name"
READS = "finds files that the key does not hold; make them inputs of the job"
TELLS = "reads docstrings or source text, which do not count"
REFUSED = {
    **dict.fromkeys(["__builtins__", "__import__", "builtins", "compile", "eval", "exec", "globals", "locals"], RUNS),
    **dict.fromkeys(["importlib", "os.popen", "os.system", "pkgutil", "runpy", "subprocess", "vars"], RUNS),
    **dict.fromkeys(["sys.meta_path", "sys.modules", "sys.path"], RUNS),
    **dict.fromkeys(["__file__", "__path__", "importlib.resources"], READS),
    **dict.fromkeys(["__doc__", "inspect.getdoc", "inspect.getsource", "inspect.getsourcelines"], TELLS),
}
"""Names of at most two parts, and why code that uses them has no key. `model.eval` and `re.compile` are other names."""


class UnkeyableCode(InputError):
    """Code whose imports do not tell what it runs."""

    def __init__(self, path: Path | str, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")


class Known:
    """What calls of `reached` share that find it at one moment: paths of modules, and what was read of each."""

    def __init__(self) -> None:
        self.path = cache(_file)
        self.modules: dict[str, Any] = {}

    def read(self, paths: Collection[str]) -> None:
        """Read the modules that are not known yet."""
        new = [path for path in paths if path not in self.modules]
        self.modules |= zip(new, map(json.loads, _read(new)), strict=True)


def reached(
    entries: Iterable[str], root: Path, exclude: Collection[str] = UNKEYED, known: Known | None = None
) -> tuple[dict[str, str], set[str]]:
    """Return the digests (SHA-256, hex) of modules and of those that they reach, by name, and libraries by import name.

    Packages count where a module below them is imported. The project's own does not: it offers names to users, and is
    refused to modules, as every import of a package is (what is read from it then may be any module below it). What to
    `exclude` does not count, with all below it, when it is imported; nor does the standard library.

    Args:
        entries: names of modules, in any order.
        root: folder of the project's package.
        known: what others found, at a moment since which no module has changed.

    Raises:
        UnkeyableCode: the code cannot be followed; the message names file, line and reason.
    """
    known = known or Known()
    digests: dict[str, str] = {}
    libraries: set[str] = set()
    waiting = {name: (str(root), 0) for name in entries}
    while waiting:
        paths = {name: known.path(root, name) for name in waiting}
        for name, path in paths.items():
            if not path:
                raise UnkeyableCode(*waiting[name], f"there is no module {name}")
        known.read(paths.values())
        found = {}
        for name, path in paths.items():
            digests[name], imports = known.modules[path]
            package = name.rpartition(".")[0]
            if "." in package:
                found[package] = (path, 1)
            for line, source, taken in imports:
                top, full = source.partition(".")[0], f"{source}.{taken}".rstrip(".")
                target = full if known.path(root, full) else source
                if top != PROJECT:
                    libraries |= {top} - sys.stdlib_module_names - WITH_TORCH
                elif not any(f"{target}.".startswith(f"{other}.") for other in exclude):
                    if known.path(root, target).endswith("__init__.py"):
                        raise UnkeyableCode(path, line, f"it imports the package {target}; import modules with `from`")
                    found[target] = (path, line)
        waiting = {name: by for name, by in found.items() if name not in digests}
    return dict(sorted(digests.items())), libraries


def _file(root: Path, name: str) -> str:
    """Return the path of a module, "" where there is none."""
    # Asked thousands of times before anything is planned, so by plain strings.
    stem = os.path.join(root, *name.split("."))
    return next(filter(os.path.isfile, (os.path.join(stem, "__init__.py"), f"{stem}.py")), "")


def _read(paths: Collection[str]) -> list[str]:
    """Return of each module, as JSON, the digest of its code and its imports: line, source, what is taken from it."""
    if not CACHE.is_dir():  # no working directory
        return list(map(_parsed, paths))
    return FileMemory(CACHE / f"modules-{READER[:16]}.sqlite", _parsed).texts(paths)


def _tree(source: bytes) -> ast.Module:
    try:
        return ast.parse(source)
    except SystemError:  # Python 3.11 counts depth for all that parse at once, e.g. what is collected meanwhile
        gc.disable()
        try:
            return ast.parse(source)
        finally:
            gc.enable()


def _parsed(path: str) -> str:
    try:
        tree = _tree(Path(path).read_bytes())
    except (SyntaxError, ValueError) as error:
        raise UnkeyableCode(path, getattr(error, "lineno", None) or 0, f"no valid Python: {error}") from error
    imports = [one for node in ast.walk(tree) for one in _imports(node, path)]
    bound = {name: f"{source}.{taken}".rstrip(".") for _, source, taken, name in imports}
    uses = [(line, f"{source}.{taken}") for line, source, taken, _ in imports]
    uses += [use for node in ast.walk(tree) for use in _uses(node, bound)]
    for line, use in uses:
        first, second, *_ = [*use.split("."), ""]
        for name in (f"{first}.{second}", first):
            if name in REFUSED:
                raise UnkeyableCode(path, line, f"{name} {REFUSED[name]}")
    code = digest_bytes(ast.dump(_WithoutDocstrings().visit(tree)).encode())
    return json.dumps([code, [one[:3] for one in imports]])


def _imports(node: ast.AST, path: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield line, source, what is taken from it ("" if the source itself gets bound), and to what name it is bound."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            source = alias.name if alias.asname else alias.name.partition(".")[0]
            yield node.lineno, source, "", alias.asname or source
    elif isinstance(node, ast.ImportFrom):
        if node.level or any(alias.name == "*" for alias in node.names):
            raise UnkeyableCode(path, node.lineno, "star and relative imports hide what is used; name it in full")
        for alias in node.names:
            yield node.lineno, str(node.module), alias.name, alias.asname or alias.name


def _uses(node: ast.AST, bound: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield line and full name: after `import os as o`, `o.system` is `os.system`."""
    if isinstance(node, ast.Name):
        yield node.lineno, bound.get(node.id, node.id)
    elif isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name):
            yield node.lineno, f"{bound.get(node.value.id, node.value.id)}.{node.attr}"
        if node.attr.startswith("__"):
            yield node.lineno, node.attr


class _WithoutDocstrings(ast.NodeTransformer):
    """Takes away bare strings, which document modules, classes, functions and attributes."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node
