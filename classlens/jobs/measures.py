"""Config slices of measures and of the tables that put models side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classlens.errors import InputError

if TYPE_CHECKING:
    from classlens.config import Config

Wildcards = Mapping[str, str]
Slice = dict[str, Any]


def resampling(config: Config) -> Slice:
    """Return how intervals and tests resample images."""
    return {
        "seed": config.seed,
        "resamples": config.statistics["resamples"],
        "confidence": config.statistics["confidence"],
    }


def significance(config: Config) -> Slice:
    """Return how p-values are corrected and from where on they count."""
    return {
        "correction": config.statistics["correction"],
        "confidence": config.statistics["confidence"],
    }


def compared(config: Config, analysis: str, twins: bool = False) -> list[str]:
    """Return the models that a table or figure puts side by side.

    Raises:
        InputError: there is none.
    """
    names = config.models_with(analysis, twins)
    if not names:
        raise InputError(f"the analysis {analysis} applies to no model of the config")
    return names


def identifiability(_config: Config, _wildcards: Wildcards) -> Slice:
    """Everything is in the files."""
    return {}


def identifiability_evolution(config: Config, _wildcards: Wildcards) -> Slice:
    """One model beside its random twin."""
    return resampling(config)


def identifiability_comparison(config: Config, _wildcards: Wildcards) -> Slice:
    """One model on the normalised depth axis."""
    return resampling(config)


def identifiability_rates(config: Config, _wildcards: Wildcards) -> Slice:
    """One model's last block."""
    return resampling(config)


def logit_increment(config: Config, _wildcards: Wildcards) -> Slice:
    """One model."""
    return resampling(config)


def class_building(config: Config, _wildcards: Wildcards) -> Slice:
    """One model."""
    return resampling(config)


def class_vs_context(config: Config, wildcards: Wildcards) -> Slice:
    """One model; its blocks are corrected together, since they share a figure."""
    _need_masks(config, wildcards["model"])
    return resampling(config) | significance(config)


def class_context_change(config: Config, wildcards: Wildcards) -> Slice:
    """One model; correction has to wait for the table."""
    _need_masks(config, wildcards["model"])
    return resampling(config)


def identifiability_evolution_table(config: Config, _wildcards: Wildcards) -> Slice:
    """All models that have a panel."""
    return {"models": compared(config, "identifiability"), **significance(config)}


def identifiability_comparison_table(config: Config, _wildcards: Wildcards) -> Slice:
    """All models and their random twins."""
    return {"models": compared(config, "identifiability", twins=True)}


def identifiability_rates_table(config: Config, _wildcards: Wildcards) -> Slice:
    """All models and their random twins."""
    return {"models": compared(config, "identifiability", twins=True)}


def logit_increment_table(config: Config, _wildcards: Wildcards) -> Slice:
    """All models that have a panel."""
    return {"models": compared(config, "logit_increment")}


def class_context_change_table(config: Config, _wildcards: Wildcards) -> Slice:
    """All models whose tokens are labelled."""
    return {"models": compared(config, "class_vs_context"), **significance(config)}


def _need_masks(config: Config, model: str) -> None:
    if not config.applies(model, "class_vs_context"):
        dataset = config.models[model]["dataset"]
        raise InputError(
            f"class and context tokens of {model} cannot be told apart: its data set {dataset} has no masks"
        )
