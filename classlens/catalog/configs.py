"""Read configs: the names of analyses, figures and explanations in them are those of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from classlens.catalog.analyses import FIGURES, GROUPS
from classlens.catalog.methods import METHODS
from classlens.config import load, read
from classlens.config.config import Config


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of the config."""
    heatmap_methods = [name for name, method in METHODS.items() if method.has_maps]
    return load.schema(analyses=GROUPS, figures=FIGURES, methods=METHODS, heatmap_methods=heatmap_methods)


def load_config(raw: Mapping[str, Any]) -> Config:
    """Check a config as the user wrote it, the parsed YAML file, and complete it.

    Raises:
        InputError: naming every key that is unknown, missing or has a wrong value.
    """
    return load.load_config(raw, schema())


def read_config(path: Path | str) -> Config:
    """Load a config from a YAML file.

    Raises:
        InputError: the file is missing or no YAML, or `load_config` refuses it.
    """
    return load_config(read.read_words(path))


def as_meant(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with words and numbers in the types that the schema wants; a copy.

    Raises:
        InputError: aliases make it endless.
    """
    return load.as_meant(raw, schema())
