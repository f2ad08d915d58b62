"""Words and numbers of a config as the schema wants them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from classlens.errors import InputError
from classlens.yaml12 import Plain, Scalar, meaning

NAMES = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
"""Types as JSON schema calls them."""


def as_wanted(part: Mapping[str, Any], value: Any) -> Any:
    """Return a value of a config in the types that the schema wants; what cannot be one of them stays as it is.

    A word is a number where a number is wanted, and text where text is, also when something read it before that takes
    2024 for a number or 1e-3 for text. Options of architectures, of which the schema knows nothing, get what YAML says.

    Args:
        part: of the schema.
        value: with words as `Plain`, or as Python knows them; it must not contain itself.

    Raises:
        InputError: it has a name that another reader made something else of, so that what was written is lost.
    """
    if isinstance(value, Mapping):
        known, other = part.get("properties", {}), part.get("additionalProperties")
        other = other if isinstance(other, Mapping) else {}
        named = {_text(key): item for key, item in value.items()}
        for key in named:
            if not isinstance(key, str):
                raise InputError(f"config: a name was read as {key!r}, not as text; put it into quotes where it stands")
        return {key: as_wanted(known.get(key, other), item) for key, item in named.items()}
    if isinstance(value, list):
        return [as_wanted(part.get("items", {}), item) for item in value]
    wanted = part.get("type", "string" if "enum" in part else ())
    return _scalar(value, {wanted} if isinstance(wanted, str) else set(wanted))


def _scalar(value: Any, wanted: set[str]) -> Any:
    if isinstance(value, str) and (isinstance(value, Plain) or (wanted and "string" not in wanted)):
        found: Scalar = meaning(value)
        if found is None:
            return None
        if not wanted:
            return found
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        right = wanted & {"integer", "number"} if is_number else NAMES[type(found)] in wanted
        return _number(found, wanted) if right else str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, wanted)
    return _text(value) if not isinstance(value, bool | None) else value


def _number(value: Any, wanted: set[str]) -> Any:
    """Return 1e3 as an integer where one is wanted, and a number as text where no number is."""
    if "number" in wanted or not wanted:
        return value
    if "integer" in wanted:
        return int(value) if isinstance(value, float) and value.is_integer() else value
    return str(value) if "string" in wanted else value


def _text(value: Any) -> Any:
    """Return text for what a reader of YAML 1.1 made of a name, where it can be told what was written."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    return value.isoformat() if type(value) is datetime.date else value
