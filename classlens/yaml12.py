"""YAML by the core schema of version 1.2: 1e-3 is a number; on, 2024-01-01 and 1:30 are text; keys are text, once each.

PyYAML knows version 1.1 alone. It parses here, and what its words mean is decided here. That is put off until it is
known what is wanted: a `Plain` word (without quotes) is the number 2024 where a number is wanted, and a name elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.reader import ReaderError

from classlens.errors import InputError

Scalar = None | bool | int | float | str

CONSTANTS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
BASES = {"0o": (8, re.compile(r"0o[0-7]+")), "0x": (16, re.compile(r"0x[0-9a-fA-F]+"))}
INTEGER = re.compile(r"[-+]?[0-9]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
MOST_DIGITS = 300
"""Of a number; longer ones stay text, which no key of a config takes for a number."""

TAG = "tag:yaml.org,2002:"
PLAIN, MERGE = "tag:classlens,plain", f"{TAG}merge"


def meaning(word: str) -> Scalar:
    """Return what a word without quotes means where nothing says what is wanted."""
    if word in CONSTANTS:
        return CONSTANTS[word]
    if len(word) > MOST_DIGITS:
        return str(word)
    if INTEGER.fullmatch(word):
        return int(word)
    base, form = BASES.get(word[:2], (0, INTEGER))
    if base and form.fullmatch(word):
        return int(word[2:], base)
    return float(word) if FLOAT.fullmatch(word) else str(word)


class Plain(str):
    """A word that was written without quotes."""

    __slots__ = ()


def plain(value: Any) -> Any:
    """Return a value with all text in it as `Plain`, at every depth: as if it was written without quotes."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return Plain(value) if isinstance(value, str) else value


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self.twice: list[str] = []

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return MERGE if value == "<<" else PLAIN
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # type: ignore[no-untyped-call]
        seen: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ComposerError(None, None, "a key is text, not a list or mapping", key.start_mark)
            if key.tag == MERGE:
                continue
            key.tag = f"{TAG}str"
            if key.value in seen:
                first, second = (f"line {m.line + 1}, column {m.column + 1}" for m in (seen[key.value], key.start_mark))
                self.twice.append(f"the key {key.value!r} is given twice: in {first}, and in {second}; keep one")
            seen.setdefault(key.value, key.start_mark)
        return node

    def _as_tagged(self, node: yaml.ScalarNode) -> Scalar:
        found = meaning(node.value)
        name = {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(found))
        if node.tag == f"{TAG}float" and name == "int":
            return float(found)  # type: ignore[arg-type]
        if node.tag != f"{TAG}{name}":
            raise ConstructorError(None, None, f"{node.value!r} is no {node.tag.removeprefix(TAG)}", node.start_mark)
        return found


def _unknown(loader: _Loader, node: yaml.Node) -> None:
    tag = node.tag.replace(TAG, "!!")
    raise ConstructorError(None, None, f"the tag {tag} is not known here; leave it out", node.start_mark)


_Loader.yaml_constructors = {
    PLAIN: lambda _, node: Plain(node.value),
    # JSON spells a character beyond 65,535 as two halves.
    f"{TAG}str": lambda _, node: node.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    **dict.fromkeys((f"{TAG}{name}" for name in ("null", "bool", "int", "float")), _Loader._as_tagged),
    f"{TAG}map": SafeConstructor.construct_yaml_map,
    f"{TAG}seq": SafeConstructor.construct_yaml_seq,
    MERGE: lambda _, node: Plain(node.value),
    None: _unknown,
}


def load(content: str | bytes, name: str) -> Any:
    """Read one YAML (or JSON) document, its words without quotes as `Plain`.

    Args:
        content: of a file.
        name: of the file, for messages.

    Raises:
        InputError: it is not YAML, gives a key twice, or is nested too deep.
    """
    try:
        loader = _Loader(content)
        found = loader.get_single_data()
    except yaml.YAMLError as error:
        if "\t" in (text := content if isinstance(content, str) else content.decode(errors="replace")) and _is_json(
            text
        ):
            return load(text.replace("\t", " "), name)  # which JSON may be indented by, and YAML not
        said = re.sub(r'in "<[a-z]+ string>", ', "in ", " ".join(str(error).split()))
        way_out = "; save it as UTF-8" if isinstance(error, ReaderError) else ""
        raise InputError(f"{name}: {said}{way_out}") from error
    except RecursionError:
        raise InputError(f"{name}: it is nested too deep to be a config") from None
    if loader.twice:
        raise InputError("\n".join(f"{name}: {one}" for one in loader.twice))
    return found


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Dumper(yaml.SafeDumper):
    """Puts whatever either version takes for more than text into quotes."""


_Dumper.add_implicit_resolver(f"{TAG}int", re.compile(rf"{INTEGER.pattern}$|0o[0-7]+$"), list("-+0123456789"))  # type: ignore[no-untyped-call]
_Dumper.add_implicit_resolver(f"{TAG}float", re.compile(f"(?:{FLOAT.pattern})$"), list("-+.0123456789"))  # type: ignore[no-untyped-call]


def dump(value: Any) -> str:
    """Write values as a YAML document that `load` and PyYAML's loaders read alike."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
