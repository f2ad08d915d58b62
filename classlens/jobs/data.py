"""Config slices of the jobs that prepare data sets. Where raw data lies shapes no result, so it is local."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from classlens.config import Config
from classlens.data.geometry import Geometry

SELECTION = ("per_class", "train_per_class", "exclude_classes", "too_few")


def stimuli(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Which images are chosen."""
    dataset = config.datasets[wildcards["dataset"]]
    return {"kind": dataset["kind"], "selection": {key: dataset[key] for key in SELECTION}}


def stimuli_local(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Where the data set lies."""
    return _place(config.datasets[wildcards["dataset"]])


def mask_list(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Of which kind of data set."""
    return {"kind": config.datasets[wildcards["dataset"]]["kind"]}


def pixels(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Which split, through which geometry."""
    return {**masks(config, wildcards), "split": wildcards["split"]}


def masks(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Through which geometry."""
    kind = config.datasets[wildcards["dataset"]]["kind"]
    return {"kind": kind, "geometry": asdict(Geometry.from_name(wildcards["geometry"]))}


def token_labels(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Which grid of tokens, and how they are labelled."""
    model = wildcards["model"]
    dataset = config.dataset(model)
    return {"kind": dataset["kind"], "grid": config.card(model)["grid"], "mode": dataset["token_labels"]}


def token_labels_local(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Where the model's data set lies."""
    return _place(config.dataset(wildcards["model"]))


def _place(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {"root": dataset["root"], "masks": dataset["masks"]}


mask_list_local = stimuli_local
pixels_local = stimuli_local
masks_local = stimuli_local
