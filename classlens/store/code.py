"""Which code a job runs: its own modules, and every module of the project that these import, directly or not.

A module counts as a whole, and an import counts wherever it stands: what changes for different reasons belongs into
different modules. What a reader of import statements cannot follow is refused. A module is parsed once: `remember`
keeps what was read in the working directory, by the digest of the module's text.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from classlens.cache import CACHE
from classlens.digest import digest_bytes, digest_file, write_atomically
from classlens.errors import InputError

PROJECT = "classlens"
UNKEYED = ("classlens.store", "classlens.progress", "classlens.errors", "classlens.logs", "classlens.shipped")
"""Modules, with all below them, that move bytes or talk to the user, and shape no result."""

WITH_TORCH = {"triton"}
"""Libraries that come with torch where they are of use: torch's version tells theirs."""

KNOWN = CACHE / "modules.json"

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

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")


class Import(NamedTuple):
    line: int
    source: str
    name: str
    """What is taken from the source; empty if it is the source itself that gets bound."""
    bound: str

    @property
    def full(self) -> str:
        return f"{self.source}.{self.name}" if self.name else self.source


class Module(NamedTuple):
    digest: str
    """SHA-256 of the code (hex); comments, docstrings and formatting do not count."""
    imports: tuple[Import, ...]


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


_known: dict[str, Module] = {}
"""Modules without fault, by the digest of their text."""


@cache
def remember() -> None:
    """Take over what earlier runs of this working directory read, and keep what this process reads when it ends."""
    try:
        kept = json.loads(KNOWN.read_text())
        found = kept["modules"] if kept["reader"] == _reader() else {}
        _known.update({text: Module(digest, tuple(Import(*one) for one in of)) for text, (digest, of) in found.items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        _known.clear()
    atexit.register(_keep, KNOWN.absolute(), len(_known))


def _keep(path: Path, before: int) -> None:
    if len(_known) > before and path.parent.is_dir():
        with suppress(OSError):  # a read-only folder, a full disk: then they are read again
            write_atomically(path, json.dumps({"reader": _reader(), "modules": _known}))


@cache
def _reader() -> str:
    """Return what the digests depend on beside the text: how it is parsed and read."""
    return f"{sys.version} {digest_file(__file__)}"


def read_module(path: Path) -> Module:
    """Read a module.

    Raises:
        UnkeyableCode: it is no valid Python, or what it runs cannot be followed.
    """
    source = path.read_bytes()
    text = digest_bytes(source)
    if text not in _known:
        _known[text] = _parsed(path, source)
    return _known[text]


def _parsed(path: Path, source: bytes) -> Module:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise UnkeyableCode(path, getattr(error, "lineno", None) or 0, f"no valid Python: {error}") from error
    imports = [one for node in ast.walk(tree) for one in _imports(node, path)]
    bound = {one.bound: one.full for one in imports}
    uses = [(one.line, one.full) for one in imports]
    uses += [use for node in ast.walk(tree) for use in _uses(node, bound)]
    for line, use in uses:
        parts = use.split(".")
        for name in (".".join(parts[:2]), parts[0]):
            if name in REFUSED:
                raise UnkeyableCode(path, line, f"{name} {REFUSED[name]}")
    return Module(digest_bytes(ast.dump(_WithoutDocstrings().visit(tree)).encode()), tuple(imports))


def _imports(node: ast.AST, path: Path) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            source = alias.name if alias.asname else alias.name.partition(".")[0]
            yield Import(node.lineno, source, "", alias.asname or source)
    elif isinstance(node, ast.ImportFrom):
        if node.level or any(alias.name == "*" for alias in node.names):
            raise UnkeyableCode(path, node.lineno, "star and relative imports hide what is used; name it in full")
        for alias in node.names:
            yield Import(node.lineno, str(node.module), alias.name, alias.asname or alias.name)


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
