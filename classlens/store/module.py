"""What one module says: a digest of its code, and what it imports.

A module is parsed once: `remember` keeps what was read in the working directory, by the digest of the module's text.
"""

from __future__ import annotations

import ast
import atexit
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from classlens.cache import CACHE
from classlens.digest import digest_bytes, digest_file, write_atomically
from classlens.errors import InputError

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
