"""A module as its syntax tree shows it: what it defines, what it imports, what it does when it is imported."""

from __future__ import annotations

import ast
import builtins
import copy
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

PURE = frozenset(
    [
        *("classmethod", "object", "property", "staticmethod"),
        *("abc.ABC", "abc.abstractmethod", "contextlib.contextmanager", "dataclasses.dataclass", "dataclasses.field"),
        *("functools.cache", "functools.cached_property", "functools.lru_cache", "functools.partial"),
        *("functools.total_ordering", "functools.wraps", "logging.getLogger", "pathlib.Path"),
        *("torch.inference_mode", "torch.nn.Module", "torch.no_grad"),
        *("typing.Generic", "typing.NamedTuple", "typing.NewType", "typing.Protocol", "typing.TypedDict"),
        *("typing.TypeVar", "typing.final", "typing.overload", "typing.override"),
    ]
)
"""Decorators, base classes and functions that leave nothing behind but a value. Any other might register it somewhere,
change something, or take the next item from an iterator."""

RUNS = "runs code that cannot be followed; import what is needed by name"
READS = "finds files that the key does not hold; make them inputs of the job"
TELLS = "reads what does not count (docstrings, source text, annotations)"
HIDES = "hides what is used of it when it is handed on; name that"
REFUSED_ATTRIBUTES = {**dict.fromkeys(["__builtins__", "__globals__", "f_globals", "f_locals"], RUNS), "__doc__": TELLS}
REFUSED = {
    **REFUSED_ATTRIBUTES,
    **dict.fromkeys(["__import__", "builtins", "eval", "exec", "globals", "locals", "vars()"], RUNS),
    **dict.fromkeys(["importlib.import_module", "importlib.machinery", "importlib.util.module_from_spec"], RUNS),
    **dict.fromkeys(["importlib.util.spec_from_file_location", "pkgutil", "runpy"], RUNS),
    **dict.fromkeys(["os.popen", "os.system", "subprocess", "sys.meta_path", "sys.modules", "sys.path"], RUNS),
    **dict.fromkeys(["__file__", "__path__", "importlib.resources"], READS),
    **dict.fromkeys(["inspect.getdoc", "inspect.getsource", "inspect.getsourcelines"], TELLS),
    **dict.fromkeys(["inspect.get_annotations", "typing.get_type_hints"], TELLS),
}
"""What reaches code or files by names that only exist at run time, or reads what is left out of digests."""

BUILTINS = frozenset(vars(builtins))
Function = ast.FunctionDef | ast.AsyncFunctionDef
Import = ast.Import | ast.ImportFrom
LITERALS = ast.Constant | ast.Dict | ast.JoinedStr | ast.List | ast.Set | ast.Tuple


class UnkeyableCode(Exception):
    """Code of which no syntax tree tells what it runs."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")


@dataclass(frozen=True)
class Target:
    """What an import statement binds a name to: a module, or a name in a module."""

    module: str
    name: str | None = None
    line: int = field(default=0, compare=False)
    """Where the statement stands."""

    def __str__(self) -> str:
        return self.module if self.name is None else f"{self.module}.{self.name}"


Imports = dict[str, tuple[Target, ...]]
"""What import statements bind names to; a name may be bound more than once."""


@dataclass(frozen=True)
class Chain:
    """A use of a name with the attributes read from it: `np.linalg.norm` is ("np", ("linalg", "norm"))."""

    base: str
    attributes: tuple[str, ...]
    line: int = field(default=0, compare=False)


@dataclass(eq=False)
class Unit:
    """A top-level statement: the smallest piece of code that counts or does not count.

    Attributes:
        node: its syntax tree.
        names: what it binds in its module, other than by import statements.
        acts: it may do more than bind names when the module is imported.
        executed: what it imports when the module is imported.
        imported: what it imports then or later.
        imports: names bound by import statements inside of it.
        chains: uses of names.
        refusal: line and reason, if it does what cannot be followed.
        lazy: its annotations are never evaluated.
    """

    node: ast.stmt
    names: tuple[str, ...]
    acts: bool
    executed: tuple[Target, ...]
    imported: tuple[Target, ...]
    imports: Imports
    chains: tuple[Chain, ...]
    refusal: tuple[int, str] | None
    lazy: bool

    @cached_property
    def global_imports(self) -> Imports:
        """The names among `imports` that it binds in its module."""
        local = isinstance(self.node, Function | ast.ClassDef)
        return {name: targets for name, targets in self.imports.items() if not local or name in self.names}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its syntax tree without positions and docstrings (hex)."""
        bare = _without_docstrings(self.node)
        annotated = any(getattr(node, name, None) for node in ast.walk(bare) for name in ("annotation", "returns"))
        return hashlib.sha256(f"{ast.dump(bare)} {annotated and self.lazy}".encode()).hexdigest()

    @property
    def waits(self) -> bool:
        """It evaluates nothing until it is called, so that its place among the other statements does not matter."""
        return isinstance(self.node, Function) and all(
            isinstance(node, ast.Constant) for node in _header(self.node, annotations=not self.lazy)
        )


@dataclass
class Module:
    """A parsed module.

    Attributes:
        lazy: annotations are never evaluated.
        bound: what names may stand for at the top level, as far as import statements bind them.
        own: names that its other statements bind.
        statements: all units, in order.
        definitions: units by the names that they bind; a name may be bound more than once.
        imports: names bound by import statements, other than for type checkers.
        unused: imports whose names appear nowhere: they are there for what they do.
    """

    name: str
    path: Path
    lazy: bool
    bound: Imports = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    statements: list[Unit] = field(default_factory=list)
    definitions: dict[str, list[Unit]] = field(default_factory=dict)
    imports: Imports = field(default_factory=dict)
    unused: list[Target] = field(default_factory=list)

    @property
    def is_package(self) -> bool:
        """It is the `__init__.py` of a folder."""
        return self.path.name == "__init__.py"

    def meanings(self, name: str, attributes: tuple[str, ...] = (), local: Imports | None = None) -> set[str]:
        """Return the full names that a use may stand for: of imports, of the module's own names, of builtins."""
        found = {str(target) for imports in (self.bound, local or {}) for target in imports.get(name, ())}
        if name in self.own:
            found.add(f"{self.name}.{name}")
        elif not found and (name in BUILTINS or name.startswith("__")):
            found.add(name)
        return {".".join((base, *attributes)).removeprefix("builtins.") for base in found or {""}}


def parse(path: Path, name: str, source: bytes) -> Module:
    """Parse a module.

    Raises:
        UnkeyableCode: it is no valid Python, or has imports that no syntax tree can follow.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise UnkeyableCode(path, getattr(error, "lineno", 0) or 0, f"no valid Python: {error}") from error
    futures = {alias.name for statement in filter(_is_future, tree.body) for alias in statement.names}
    module = Module(name, path, lazy="annotations" in futures)
    top = [node for statement in tree.body for node in _evaluated(statement, module)]
    own = frozenset(name for statement in tree.body for name in _bound_names(statement, module))
    module.bound, module.own = _imports(module, top), own
    for statement in tree.body:
        _add(module, statement)
    mentioned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for unit in module.statements:
        if isinstance(unit.node, Import):
            module.unused += [target for name in unit.imports.keys() - mentioned for target in unit.imports[name]]
    return module


def _add(module: Module, statement: ast.stmt) -> None:
    """Sort a top-level statement into the module."""
    if _is_string(statement) or _is_future(statement):
        return
    if _is_type_checking(statement, module):
        for other in statement.orelse:
            _add(module, other)
        return
    inside = list(_evaluated(statement, module, later=True))
    local = _imports(module, inside)
    executed = list(_evaluated(statement, module))
    reader = _Reader(module, local)
    reader.visit(statement)
    unit = Unit(
        node=statement,
        names=tuple(dict.fromkeys(_bound_names(statement, module))),
        acts=_acts(statement, module),
        executed=tuple(_targets(module, executed)),
        imported=tuple(_targets(module, inside)),
        imports=local,
        chains=tuple(reader.chains),
        refusal=reader.refusal,
        lazy=module.lazy,
    )
    module.statements.append(unit)
    for name in unit.names:
        module.definitions.setdefault(name, []).append(unit)
    for name, targets in unit.global_imports.items():
        module.imports[name] = _united(module.imports.get(name, ()), targets)


class _Reader(ast.NodeVisitor):
    """Collects a statement's uses of names.

    Local variables are not told from names of the module: a variable named like a function ties the two together,
    which is more than needed and never less.
    """

    def __init__(self, module: Module, local: Imports) -> None:
        self._module, self._local = module, local
        self._in_function = self._in_class = False
        self.chains: dict[Chain, None] = {}
        self.refusal: tuple[int, str] | None = None

    def visit_Import(self, node: ast.Import) -> None:
        self._import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._import(node)

    def _import(self, node: Import) -> None:
        if self._in_class:
            # It makes an attribute, which is used under the name of an instance.
            for name in _imports(self._module, [node]):
                self._use(node.lineno, name, ())

    def visit_If(self, node: ast.If) -> None:
        for child in node.orelse if _is_type_checking(node, self._module) else ast.iter_child_nodes(node):
            self.visit(child)

    def visit_Name(self, node: ast.Name) -> None:
        self._use(node.lineno, node.id, ())

    def visit_Constant(self, node: ast.Constant) -> None:
        if node.value in REFUSED_ATTRIBUTES:
            self._refuse(node.lineno, node.value, REFUSED_ATTRIBUTES[node.value])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = base.value
        for name in REFUSED_ATTRIBUTES.keys() & set(attributes):
            self._refuse(node.lineno, name, REFUSED_ATTRIBUTES[name])
        if isinstance(base, ast.Name):
            self._use(node.lineno, base.id, tuple(attributes))
        else:
            self.visit(base)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        # The module of an object that the code has already is nothing new.
        at_hand = isinstance(node.slice, ast.Attribute) and node.slice.attr == "__module__"
        if at_hand and isinstance(node.value, ast.Attribute) and ast.unparse(node.value) == "sys.modules":
            self.visit(node.slice)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and not node.args:
            self._check({f"{name}()" for name in self._module.meanings(node.func.id)}, node.lineno)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # Annotations of local variables are never evaluated; those of classes make dataclasses.
        for part in (node.target, node.value) if self._in_function else (node.target, node.annotation, node.value):
            if part is not None:
                self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        before = self._in_function, self._in_class
        self._in_function, self._in_class = False, True
        self.generic_visit(node)
        self._in_function, self._in_class = before

    def _function(self, node: Function) -> None:
        # A decorator may read annotations, as those that dispatch by type do.
        read = not self._module.lazy or not all(_is_pure(_called(one), self._module) for one in node.decorator_list)
        for part in _header(node, annotations=read):
            self.visit(part)
        before = self._in_function, self._in_class
        self._in_function, self._in_class = True, False
        for child in node.body:
            self.visit(child)
        self._in_function, self._in_class = before

    def _use(self, line: int, base: str, attributes: tuple[str, ...]) -> None:
        self._check(self._module.meanings(base, attributes, self._local), line)
        self.chains.setdefault(Chain(base, attributes, line))

    def _check(self, meanings: Iterable[str], line: int) -> None:
        for meaning in sorted(meanings):
            for name, reason in REFUSED.items():
                if f"{meaning}.".startswith(f"{name}."):
                    self._refuse(line, name, reason)
                elif name.startswith(f"{meaning}."):
                    self._refuse(line, meaning, HIDES)

    def _refuse(self, line: int, name: str, reason: str) -> None:
        self.refusal = self.refusal or (line, f"{name} {reason}")


def _imports(module: Module, nodes: Iterable[ast.AST]) -> Imports:
    """Return the names that import statements bind."""
    found: Imports = {}
    for node in nodes:
        if not isinstance(node, Import) or _is_future(node):
            continue
        for alias, target in zip(node.names, _targets(module, [node]), strict=True):
            name = alias.asname or alias.name
            if isinstance(node, ast.Import) and not alias.asname:
                name = alias.name.partition(".")[0]
                target = Target(name, line=node.lineno)
            found[name] = _united(found.get(name, ()), (target,))
    return found


def _targets(module: Module, nodes: Iterable[ast.AST]) -> Iterator[Target]:
    """Yield what import statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Target(alias.name, line=node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not _is_future(node):
            source = _absolute(module, node)
            if any(alias.name == "*" for alias in node.names):
                raise UnkeyableCode(module.path, node.lineno, f"`from {source} import *` hides what is used; name it")
            yield from (Target(source, alias.name, node.lineno) for alias in node.names)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".")
    package = package if module.is_package else package[:-1]
    if node.level - 1 >= len(package):
        raise UnkeyableCode(module.path, node.lineno, "a relative import leads out of the project; make it absolute")
    base = package[: len(package) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _united(first: tuple[Target, ...], second: tuple[Target, ...]) -> tuple[Target, ...]:
    return tuple(dict.fromkeys([*first, *second]))


def _evaluated(node: ast.AST, module: Module, *, later: bool = False) -> Iterator[ast.AST]:
    """Yield a node and all below it that is evaluated with it; what only type checkers see is not.

    Args:
        node: a statement or a part of one.
        module: its module.
        later: go into bodies of functions, which are evaluated when they are called.
    """
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if _is_type_checking(node, module):
        children = node.orelse
    elif isinstance(node, Function) and not later:
        children = _header(node, annotations=not module.lazy)
    elif isinstance(node, ast.Lambda) and not later:
        children = _defaults(node.args)
    for child in children:
        yield from _evaluated(child, module, later=later)


def _header(node: Function, *, annotations: bool = False) -> Iterator[ast.expr]:
    """Yield what a function definition evaluates."""
    yield from node.decorator_list
    yield from _defaults(node.args)
    if annotations:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        yield from (argument.annotation for argument in arguments if argument and argument.annotation)
        yield from [node.returns] if node.returns else []


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default)]


def _bound_names(statement: ast.AST, module: Module) -> Iterator[str]:
    """Yield the names that a top-level statement binds in its module, other than by import statements."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Global):
            yield from node.names
    yield from _bound_here(statement, module)


def _bound_here(node: ast.AST, module: Module) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.name
            children = _header(node, annotations=not module.lazy)
        case ast.ClassDef():
            yield node.name
            children = [*node.decorator_list, *node.bases, *node.keywords]
        case ast.Lambda():
            children = _defaults(node.args)
        case ast.comprehension():  # its variable is its own
            children = [node.iter, *node.ifs]
    for child in children:
        yield from _bound_here(child, module)


def _acts(statement: ast.stmt, module: Module) -> bool:
    """Tell whether a statement may do more than bind names when it is run."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Pass():
            return False  # what an imported module does is asked of that module
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            parts, applied = list(_header(statement, annotations=not module.lazy)), statement.decorator_list
        case ast.ClassDef():
            # A base class may keep a list of its subclasses.
            bases = all(_is_pure_base(base, module) for base in statement.bases) and not statement.keywords
            if not bases or any(_acts(part, module) for part in statement.body):
                return True
            parts = applied = statement.decorator_list
        case ast.Assign(targets=targets, value=value) if all(_is_plain(target, value) for target in targets):
            parts, applied = [value], []
        case ast.AnnAssign(target=ast.Name(), annotation=annotation, value=given):
            parts, applied = [part for part in (given, None if module.lazy else annotation) if part], []
        case _:
            return True
    return not all(_is_pure(_called(one), module) for one in applied) or any(
        _does_more(node, module) for part in parts for node in _evaluated(part, module)
    )


def _is_plain(target: ast.expr, value: ast.expr) -> bool:
    """Tell whether an assignment only binds names."""
    if isinstance(target, ast.Tuple | ast.List):
        return isinstance(value, LITERALS) and all(isinstance(part, ast.Name) for part in target.elts)
    return isinstance(target, ast.Name)


def _does_more(node: ast.AST, module: Module) -> bool:
    """Tell whether a part of an expression may do more than give a value.

    Operators, attributes and subscripts are taken to do nothing else.
    """
    match node:
        case ast.Call():
            return not _is_pure(node.func, module)
        case ast.Starred(value=iterated) | ast.comprehension(iter=iterated):
            return not isinstance(iterated, LITERALS)
    return False


def _called(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def _is_pure(function: ast.expr, module: Module) -> bool:
    return _meanings(function, module) <= PURE


def _is_pure_base(base: ast.expr, module: Module) -> bool:
    base = base.value if isinstance(base, ast.Subscript) else base
    return all(name in PURE or isinstance(getattr(builtins, name, None), type) for name in _meanings(base, module))


def _meanings(node: ast.expr, module: Module) -> set[str]:
    """Return the full names that a name with attributes may stand for; another expression has none that is known."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    return module.meanings(node.id, tuple(attributes)) if isinstance(node, ast.Name) else {""}


def _is_future(statement: ast.AST) -> TypeGuard[ast.ImportFrom]:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__" and not statement.level


def _is_type_checking(statement: ast.AST, module: Module) -> TypeGuard[ast.If]:
    return isinstance(statement, ast.If) and _meanings(statement.test, module) == {"typing.TYPE_CHECKING"}


def _is_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    """Return a statement without the bare strings of its bodies, which document and do nothing.

    The original stays as it is; expressions are shared with it.
    """
    bare = copy.copy(node)
    for attribute in ("body", "orelse", "finalbody", "handlers", "cases"):
        body = getattr(node, attribute, None)
        if isinstance(body, list):
            kept = [_without_docstrings(statement) for statement in body if not _is_string(statement)]
            setattr(bare, attribute, kept or ([ast.Pass()] if body else []))
    return bare
