"""Describe a job to the scheduler: its slice of the config, its local settings, the static part of its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from classlens.config import Config
from classlens.jobs import data, extraction, figures, measures, memories, models, perturbation
from classlens.store.code import CodeFingerprint, fingerprint
from classlens.store.key import JobKey, static_key

Slice = Callable[[Config, Mapping[str, str]], dict[str, Any]]

MODULES = (data, models, extraction, measures, memories, perturbation, figures)


def describe_job(name: str, config: Config, wildcards: Mapping[str, str], root: Path) -> dict[str, Any]:
    """Return what travels in a rule's `params`.

    Returns:
        name; config (shapes the result, part of the key); local (does not); key (digest of code, versions and
        config), by which the scheduler sees what a change of code may affect.
    """
    own = config_slice(name, config, wildcards)
    return {
        "name": name,
        "config": own,
        "local": local_settings(name, config, wildcards),
        "key": static_part(name, own, root).digest,
    }


def config_slice(name: str, config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Return the part of the config that shapes a job's result.

    Raises:
        KeyError: no such job.
    """
    found = _function(name)
    if found is None:
        raise KeyError(f"no config slice is defined for the job {name!r}")
    return found(config, wildcards)


def local_settings(name: str, config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a job that do not shape its result: where raw data lies, device, batch size."""
    found = _function(f"{name}_local")
    return {} if found is None else found(config, wildcards)


def static_part(name: str, own: dict[str, Any], root: Path) -> JobKey:
    """Return a job's key without its inputs."""
    return static_key(_code(script_of(name, root), root), own)


def script_of(name: str, root: Path) -> Path:
    """Return the script that a job runs; rule and script share their name."""
    return root / "workflow" / "scripts" / f"{name}.py"


@cache
def _code(script: Path, root: Path) -> CodeFingerprint:
    return fingerprint(script, root)


def _function(name: str) -> Slice | None:
    return next((getattr(module, name) for module in MODULES if hasattr(module, name)), None)
