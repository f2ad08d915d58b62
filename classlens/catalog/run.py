"""Call what a job declares. Nothing is imported before it is called, so that a result of the store costs no import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classlens.declared import load
from classlens.store.job import Compute

OBJECTS = {"resampling": "classlens.statistics.resampling:Resampling", "geometry": "classlens.data.geometry:Geometry"}
"""Settings that functions know as objects; they are made from the setting's keys."""


def computing(functions: Mapping[str, str]) -> Compute:
    """Return what computes a job.

    Args:
        functions: see `classlens.store.key.JobKey`.
    """

    def compute(
        inputs: dict[str, Any], outputs: dict[str, Any], config: dict[str, Any], local: dict[str, Any]
    ) -> dict[str, Any] | None:
        found = {keyword: load(function) for keyword, function in functions.items()}
        objects = {key: load(OBJECTS[key])(**config[key]) for key in OBJECTS if key in config}
        notes: dict[str, Any] | None = found.pop("")(**inputs, **outputs, **{**config, **objects}, **local, **found)
        return notes

    return compute


def claim_device(wanted: str) -> str:
    """Return a device for this process alone, see `classlens.models.claim`."""
    from classlens.models.claim import claim_device as claim  # imports torch, which a hit does without

    return claim(wanted)
