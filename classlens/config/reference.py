"""The reference of all config keys, made from the schema so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

INTRODUCTION = """\
# Config reference

Made from the schema by `make docs`; edit `classlens/config/schema.yaml` instead.

{description}

| key | type | default | meaning |
| --- | --- | --- | --- |
"""


def reference(schema: Mapping[str, Any]) -> str:
    """Return docs/config.md: a row for every key, with type, default and meaning."""
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(schema, ""))
    return INTRODUCTION.format(description=schema["description"]) + rows


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
