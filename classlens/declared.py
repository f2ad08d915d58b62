"""Import what is declared by name. Not for code that jobs run: their keys follow import statements alone."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(declared: str) -> Any:
    """Return a function or class by its "module:name"."""
    module, _, name = declared.partition(":")
    return getattr(import_module(module), name)
