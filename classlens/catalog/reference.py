"""The reference of all config keys, for readers and for editors, made from the schema so that it cannot drift."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from classlens.catalog.configs import schema
from classlens.shipped import PACKAGE

MADE = "Made from the schema by `make docs`; edit `schema.yaml`, or `introduction.md`, in `classlens/config/` instead."
KEYS = """\
{description}

| key | type | default | meaning |
| --- | --- | --- | --- |
"""
INTRODUCTION = PACKAGE / "config/introduction.md"


def reference() -> str:
    """Return docs/config.md: a row for every key, with type, default and meaning."""
    return f"# Config reference\n\n{MADE}\n\n{_keys()}"


def readme() -> str:
    """Return config/README.md, which the catalog of workflows shows: what a config is, and the same rows."""
    return f"# Configuration\n\n{MADE}\n\n{INTRODUCTION.read_text(encoding='utf-8')}\n{_keys()}"


def editor_schema() -> str:
    """Return config/schema.json, by which editors complete keys: JSON Schema as they read it, draft 7.

    It lets through what only the whole tells: keys that a config may have from the one that it starts from, and null in
    the place of a section of that one.
    """
    for_editors = {**_for_editors(schema()), "$schema": "http://json-schema.org/draft-07/schema#"}
    return json.dumps(for_editors, indent=1, ensure_ascii=False) + "\n"


MADE_FILES: dict[str, Callable[[], str]] = {
    "docs/config.md": reference,
    "config/README.md": readme,
    "config/schema.json": editor_schema,
}
"""What makes the files of a checkout that follow from the schema."""


def _for_editors(part: Any) -> Any:
    if isinstance(part, list):
        return [_for_editors(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _for_editors(value) for key, value in part.items() if key not in ("items", "required", "format")}
    if "items" in part:  # lists are not merged, so their items are whole
        kept["items"] = part["items"]
    if isinstance(pattern := part.get("pattern"), str):
        kept["pattern"] = pattern.replace("\\Z", "$")  # which JavaScript does not know
    kinds = part.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        kept["type"] = [*dict.fromkeys([*([kinds] if isinstance(kinds, str) else kinds), "null"])]
    return kept


def _keys() -> str:
    whole = schema()
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(whole, ""))
    return KEYS.format(description=whole["description"]) + rows


def _rows(part: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str, str]]:
    for key, sub in part.get("properties", {}).items():
        yield from _row(sub, f"{path}{key}", key in part.get("required", []))
    other = part.get("additionalProperties")
    if isinstance(other, Mapping):
        yield from _rows(other, f"{path}NAME.")


def _row(sub: Mapping[str, Any], path: str, required: bool) -> Iterator[tuple[str, str, str, str]]:
    default = "required" if required else _yaml(sub["default"]) if "default" in sub else ""
    yield f"`{path}`", _type(sub), default, sub["description"].replace("|", r"\|")
    yield from _rows(sub, f"{path}.")


def _type(sub: Mapping[str, Any]) -> str:
    if "enum" in sub:
        return ", ".join(f"`{value}`" for value in sub["enum"])
    kind = sub["type"]
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    values = sub.get("items", {}).get("enum")
    return f"{text} of " + ", ".join(f"`{value}`" for value in values) if values else text


def _yaml(value: Any) -> str:
    written = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    return f"`{written}`"
