"""Describe a job to the scheduler: its slice of the config, its local settings, the static part of its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from classlens.config import Config
from classlens.jobs import data, extraction, figures, measures, memories, models, perturbation
from classlens.store.job import Files, Job, JobParams, for_part, is_stored
from classlens.store.key import JobKey, code_key
from classlens.store.store import Store
from classlens.store.syntax import Module

Slice = Callable[[Config, Mapping[str, str]], dict[str, Any]]

MODULES = (data, models, extraction, measures, memories, perturbation, figures)


def describe_job(name: str, config: Config, wildcards: Mapping[str, str], root: Path) -> JobParams:
    """Return what travels in a rule's `params`.

    Returns:
        name; config (shapes the result, part of the key); local (does not); key (digest of code, versions and
        config), by which the scheduler sees what a change of code may affect.
    """
    own = config_slice(name, config, wildcards)
    return JobParams(
        name=name,
        config=own,
        local=local_settings(name, config, wildcards),
        key=static_part(name, own, root).digest,
    )


def results_stored(described: Mapping[str, Any], inputs: Files, outputs: Files, store: Path, root: Path) -> bool:
    """Tell whether the store has the results of a job.

    Args:
        described: from `describe_job`; a job of a batch has "inputs" and "outputs" beside it, see `for_part`.
        inputs, outputs: files of the rule by name; of outputs only names and suffixes matter.
        store: the store's folder.
        root: the checkout.
    """
    name, own = described["name"], described["config"]
    inputs, outputs = for_part(described, inputs, outputs)
    job = Job(name, script_of(name, root), root, own, described["local"], inputs, outputs)
    return is_stored(job, Store(store), static_part(name, own, root))


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
    return replace(_code_key(script_of(name, root), root), config=own)


def script_of(name: str, root: Path) -> Path:
    """Return the script that a job runs; job and script share their name."""
    return root / "workflow" / "scripts" / f"{name}.py"


@cache  # The code of a rule is the same for its thousands of jobs.
def _code_key(script: Path, root: Path) -> JobKey:
    return code_key(script, root, _modules(root))


@cache
def _modules(_root: Path) -> dict[str, Module | None]:
    """Return what the scripts of one checkout share, so that it is read once while jobs are planned."""
    return {}


def _function(name: str) -> Slice | None:
    return next((getattr(module, name) for module in MODULES if hasattr(module, name)), None)
