"""Config slices of measures and of the tables that put models side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classlens.errors import InputError
from classlens.jobs.targets import ANALYSES

if TYPE_CHECKING:
    from classlens.config import Config

TESTED = ("identifiability_evolution", "class_context_change", "class_value_agreement", "agreement_vs_accuracy")
"""Tables with p-values."""
WITH_TWINS = ("identifiability_comparison", "identifiability_rates")
"""Tables that show random twins beside their models."""

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


def compared_models(config: Config, comparison: str) -> list[str]:
    """Return the models that a table or figure puts side by side, in display order.

    Raises:
        InputError: there is none.
    """
    names = config.models_with(ANALYSES[comparison], twins=comparison in WITH_TWINS)
    if not names:
        raise InputError(f"{comparison} applies to no model of the config")
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
    need_masks(config, wildcards["model"])
    return resampling(config) | significance(config)


def class_context_change(config: Config, wildcards: Wildcards) -> Slice:
    """One model; correction has to wait for the table."""
    need_masks(config, wildcards["model"])
    return resampling(config)


def comparison_table(config: Config, wildcards: Wildcards) -> Slice:
    """All models that a table shows, and how its p-values are corrected if it has any."""
    name = wildcards["comparison"]
    models = {"models": compared_models(config, name)}
    return models | significance(config) if name in TESTED else models


def published_comparison(_config: Config, _wildcards: Wildcards) -> Slice:
    """Everything is in the table of rates."""
    return {}


def need_masks(config: Config, model: str) -> None:
    """Refuse a model whose data set has no masks.

    Raises:
        InputError: naming the data set.
    """
    if not config.applies(model, "class_vs_context"):
        dataset = config.models[model]["dataset"]
        raise InputError(
            f"class and context tokens of {model} cannot be told apart: its data set {dataset} has no masks"
        )
