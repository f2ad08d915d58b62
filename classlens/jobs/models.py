"""Config slices of the jobs that make a model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classlens.config import Config
from classlens.models.card import model_options

ORIGINS = ("pretrained", "random")


def network(config: Config, model: str) -> dict[str, Any]:
    """Return what a model is built from."""
    return {"architecture": config.models[model]["architecture"], "options": model_options(config, model)}


def normalisation(config: Config, model: str) -> dict[str, Any]:
    """Return the part of a model's transform that the images' stored pixels do not have in them."""
    transform = config.transform(model)
    return {"mean": transform["mean"], "std": transform["std"]}


def weights(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Fresh weights depend on a seed, others do not."""
    entry = config.models[wildcards["model"]]
    origin = entry["weights"] if entry["weights"] in ORIGINS else "file"
    seed = {"seed": entry["seed"]} if origin == "random" else {}
    return {**network(config, wildcards["model"]), "origin": origin, **seed}


def train(config: Config, wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Everything that training follows from."""
    model = wildcards["model"]
    entry = config.models[model]
    recipe = entry["weights"]["train"]
    return {**network(config, model), **normalisation(config, model), **recipe, "seed": entry["seed"]}


def train_local(config: Config, _wildcards: Mapping[str, str]) -> dict[str, Any]:
    """Where to train."""
    return {"device": config.extraction["device"]}
