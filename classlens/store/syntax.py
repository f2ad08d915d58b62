"""A module as its syntax tree shows it: what it defines, what it imports, what it does when it is imported."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

PURE_DECORATORS = frozenset(
    [
        "abstractmethod",
        "cache",
        "cached_property",
        "classmethod",
        "contextmanager",
        "dataclass",
        "final",
        "inference_mode",
        "lru_cache",
        "no_grad",
        "overload",
        "override",
        "property",
        "staticmethod",
        "total_ordering",
        "wraps",
    ]
)
"""Decorators that leave nothing behind but the definition; any other might register it somewhere."""
FORBIDDEN = frozenset({"eval", "exec", "globals", "__import__", "importlib.import_module"})
"""What reaches code by names that only exist at run time."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class UnkeyableCode(Exception):
    """Code of which no syntax tree tells what it runs."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")


@dataclass(frozen=True)
class Target:
    """What an import statement binds a name to: a module, or a name in a module."""

    module: str
    name: str | None = None

    def __str__(self) -> str:
        return self.module if self.name is None else f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Chain:
    """A use of a name with the attributes read from it: `np.linalg.norm` is ("np", ("linalg", "norm"))."""

    base: str
    attributes: tuple[str, ...]


@dataclass
class Unit:
    """A top-level statement: the smallest piece of code that counts or does not count."""

    node: ast.stmt
    imports: dict[str, Target] = field(default_factory=dict)
    """Import statements inside of it."""
    chains: frozenset[Chain] = frozenset()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its syntax tree without positions and docstrings (hex)."""
        bare = _without_docstrings(copy.deepcopy(self.node))
        return hashlib.sha256(ast.dump(bare).encode()).hexdigest()


@dataclass
class Module:
    """A parsed module.

    Attributes:
        definitions: units by the names that they bind; a name may be bound more than once.
        effects: units that do something when the module is imported.
        imports: names bound by import statements, wherever at the top level they stand.
        executed: what is imported when the module is, whether its names are used or not.
    """

    name: str
    path: Path
    is_package: bool = False
    definitions: dict[str, list[Unit]] = field(default_factory=dict)
    effects: list[Unit] = field(default_factory=list)
    imports: dict[str, Target] = field(default_factory=dict)
    executed: list[Target] = field(default_factory=list)

    def units(self) -> Iterator[Unit]:
        """Yield every unit."""
        for units in self.definitions.values():
            yield from units
        yield from self.effects


def parse(path: Path, name: str) -> Module:
    """Parse a module.

    Raises:
        UnkeyableCode: it is no valid Python, or does what no syntax tree can follow.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise UnkeyableCode(path, error.lineno or 0, f"no valid Python: {error.msg}") from error
    module = Module(name, path, is_package=path.name == "__init__.py")
    lazy = any(isinstance(statement, ast.ImportFrom) and statement.module == "__future__" for statement in tree.body)
    for statement in tree.body:
        _add(module, statement, lazy)
    return module


def _add(module: Module, statement: ast.stmt, lazy: bool) -> None:
    """Sort a top-level statement into the module."""
    if _is_string(statement) or _is_type_checking(statement):
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        found = _imported(module, statement)
        module.imports |= found
        module.executed += found.values()
        return
    unit = _unit(module, statement, lazy)
    names = list(_bound_names(statement))
    for name in names:
        module.definitions.setdefault(name, []).append(unit)
    module.imports |= {} if isinstance(statement, Function | ast.ClassDef) else unit.imports
    if not isinstance(statement, Function | ast.ClassDef):
        module.executed += unit.imports.values()
    if not names or _has_effect(statement, unit, module):
        module.effects.append(unit)


def _unit(module: Module, statement: ast.stmt, lazy: bool) -> Unit:
    reader = _Reader(module, lazy)
    reader.visit(statement)
    return Unit(statement, reader.imports, frozenset(reader.chains))


class _Reader(ast.NodeVisitor):
    """Collects a statement's uses of names and its import statements.

    Local variables are not told from names of the module: a variable named like a function ties the two together,
    which is more than needed and never less.
    """

    def __init__(self, module: Module, lazy: bool) -> None:
        self._module, self._lazy, self._depth = module, lazy, 0
        self.imports: dict[str, Target] = {}
        self.chains: set[Chain] = set()

    def visit_Import(self, node: ast.Import) -> None:
        self.imports |= _imported(self._module, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.imports |= _imported(self._module, node)

    def visit_If(self, node: ast.If) -> None:
        for child in node.orelse if _is_type_checking(node) else [node.test, *node.body, *node.orelse]:
            self.visit(child)

    def visit_Name(self, node: ast.Name) -> None:
        self._use(node, node.id, ())

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            self._use(node, base.id, tuple(attributes))
        else:
            self.visit(base)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # Annotations of local variables are never evaluated; those of classes make dataclasses.
        parts = [node.target, node.value] if self._depth else [node.target, node.annotation, node.value]
        for part in parts:
            if part is not None:
                self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        depth, self._depth = self._depth, 0
        self.generic_visit(node)
        self._depth = depth

    def _function(self, node: Function) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(part)
        if not self._lazy:
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
            for annotation in [argument.annotation for argument in arguments] + [node.returns]:
                if annotation is not None:
                    self.visit(annotation)
        self._depth += 1
        for child in node.body:
            self.visit(child)
        self._depth -= 1

    def _use(self, node: ast.expr, base: str, attributes: tuple[str, ...]) -> None:
        if ".".join((base, *attributes)) in FORBIDDEN:
            raise UnkeyableCode(
                self._module.path,
                node.lineno,
                f"{'.'.join((base, *attributes))} runs code that cannot be followed; import what is needed by name",
            )
        self.chains.add(Chain(base, attributes))


def _imported(module: Module, node: ast.Import | ast.ImportFrom) -> dict[str, Target]:
    """Return the names that an import statement binds."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: Target(
                alias.name if alias.asname else alias.name.partition(".")[0]
            )
            for alias in node.names
        } | {f"import {alias.name}": Target(alias.name) for alias in node.names if not alias.asname}
    source = _absolute(module, node)
    if source == "__future__":
        return {}
    if any(alias.name == "*" for alias in node.names):
        raise UnkeyableCode(module.path, node.lineno, f"`from {source} import *` hides what is used; name it")
    return {alias.asname or alias.name: Target(source, alias.name) for alias in node.names}


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".")
    package = package if module.is_package else package[:-1]
    if node.level - 1 >= len(package):
        raise UnkeyableCode(module.path, node.lineno, "a relative import leads out of the project; make it absolute")
    base = package[: len(package) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement binds in its module."""
    if isinstance(statement, Function | ast.ClassDef):
        yield statement.name
        return
    for node in _own_scope(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id
        elif isinstance(node, Function | ast.ClassDef | ast.ExceptHandler) and node.name:
            yield node.name


def _own_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below that belong to the same scope; nested definitions are yielded, not entered."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, Function | ast.ClassDef | ast.Lambda):
            yield from _own_scope(child)


def _has_effect(statement: ast.stmt, unit: Unit, module: Module) -> bool:
    """Tell whether a statement that binds names may also do something else when it runs."""
    if isinstance(statement, Function | ast.ClassDef):
        return not all(_is_pure(decorator, module) for decorator in statement.decorator_list)
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return True
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    if any(isinstance(node, ast.Attribute | ast.Subscript) for target in targets for node in ast.walk(target)):
        return True
    # NAME = f(): a function of the project might register something; a library's makes a value.
    return any(isinstance(node, ast.Call) and not _is_from_library(node.func, module) for node in ast.walk(statement))


def _is_pure(decorator: ast.expr, module: Module) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in PURE_DECORATORS and name not in module.definitions


def _is_from_library(function: ast.expr, module: Module) -> bool:
    """Tell whether a called function comes from outside: builtins, or an import from another top-level package."""
    while isinstance(function, ast.Attribute):
        function = function.value
    if isinstance(function, ast.Call):
        return _is_from_library(function.func, module)
    if not isinstance(function, ast.Name):
        return isinstance(function, ast.Constant)
    if function.id in module.definitions:
        return False
    target = module.imports.get(function.id)
    return target is None or target.module.partition(".")[0] != module.name.partition(".")[0]


def _is_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_type_checking(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.If):
        return False
    test = statement.test
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    """Take bare strings out of every body; they document and do nothing."""
    for child in ast.walk(node):
        for attribute in ("body", "orelse", "finalbody"):
            body = getattr(child, attribute, None)
            if isinstance(body, list):
                kept = [statement for statement in body if not _is_string(statement)]
                setattr(child, attribute, kept or ([ast.Pass()] if body else []))
    return node
