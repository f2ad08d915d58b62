"""Config slices of extraction: which images, through which network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classlens.config import Config
from classlens.jobs.models import network, normalisation


def shard_bounds(config: Config, model: str) -> list[tuple[int, int]]:
    """Return first and last + 1 image of every shard of a model's evaluation images."""
    count = config.images(config.models[model]["dataset"])
    size = config.extraction["shard_size"]
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def extract(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """One shard of images through one model."""
    model = wildcards["model"]
    start, stop = shard_bounds(config, model)[int(wildcards["shard"])]
    return {
        **network(config, model),
        **normalisation(config, model),
        "precision": config.extraction["precision"],
        "start": start,
        "stop": stop,
    }


def extract_local(config: Config, _wildcards: Mapping[str, str]) -> dict[str, Any]:
    """How to run it; results agree up to rounding."""
    return {"batch_size": config.extraction["batch_size"], "device": config.extraction["device"]}


def gather(_config: Config, _wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Everything is in the shards."""
    return {}
