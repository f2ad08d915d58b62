"""Config slices of key-value memories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classlens.errors import InputError
from classlens.jobs.measures import resampling

if TYPE_CHECKING:
    from classlens.config import Config

Wildcards = Mapping[str, str]
Slice = dict[str, Any]


def memory_parameters(_config: Config, _wildcards: Wildcards) -> Slice:
    """Everything is in the weights."""
    return {}


def block_memories(config: Config, wildcards: Wildcards) -> Slice:
    """One branch of one block, and the seed of its random control."""
    return {"branch": wildcards["branch"], "seed": config.seed}


def class_value_agreement(config: Config, _wildcards: Wildcards) -> Slice:
    """One model beside its random twin."""
    return resampling(config)


def key_value_agreement(config: Config, _wildcards: Wildcards) -> Slice:
    """One model."""
    return resampling(config)


def memory_comparison(config: Config, _wildcards: Wildcards) -> Slice:
    """One model on the normalised depth axis."""
    return resampling(config)


def memory_composition(config: Config, _wildcards: Wildcards) -> Slice:
    """One model."""
    return resampling(config)


def agreement_vs_accuracy(config: Config, wildcards: Wildcards) -> Slice:
    """One model with [CLS]."""
    model = wildcards["model"]
    if not config.applies(model, "agreement_vs_accuracy"):
        raise InputError(f"agreement_vs_accuracy looks at [CLS], which {model} does not have")
    return resampling(config)


def value_vectors(config: Config, _wildcards: Wildcards) -> Slice:
    """Which memories."""
    return {"chosen": config.memories["value_vectors"]}
