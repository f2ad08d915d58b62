"""Config slices of figures: order and labels of models, which tables know by name only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classlens.jobs.measures import compared_models
from classlens.jobs.perturbation import heatmaps

if TYPE_CHECKING:
    from classlens.config import Config

Wildcards = Mapping[str, str]
Slice = dict[str, Any]


def labelled(config: Config, comparison: str) -> list[list[str]]:
    """Return pairs of name and label of the models side by side, in display order, without random twins."""
    names = compared_models(config, comparison)
    return [[name, config.models[name]["label"]] for name in names if not config.is_twin(name)]


def identifiability_evolution_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A panel per model."""
    return {"models": labelled(config, "identifiability_evolution")}


def identifiability_comparison_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A line per model; random twins share one look."""
    return {
        "models": labelled(config, "identifiability_comparison"),
        "twins": [name for name in config.models if config.is_twin(name)],
    }


def logit_increment_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A panel per model."""
    return {"models": labelled(config, "logit_increment")}


def class_value_agreement_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A row of panels per model."""
    return {"models": labelled(config, "class_value_agreement")}


def key_value_agreement_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A row of panels per model."""
    return {"models": labelled(config, "key_value_agreement")}


def memory_comparison_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A line per model."""
    return {"models": labelled(config, "memory_comparison")}


def memory_composition_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A panel per model."""
    return {"models": labelled(config, "memory_composition")}


def agreement_vs_accuracy_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A row of panels per model with [CLS]."""
    return {"models": labelled(config, "agreement_vs_accuracy")}


def one_model(config: Config, wildcards: Wildcards) -> Slice:
    """The title of a figure of one model."""
    return {"label": config.models[wildcards["model"]]["label"]}


def heatmaps_figure(config: Config, wildcards: Wildcards) -> Slice:
    """One model, and which block and head its single maps are of."""
    chosen = heatmaps(config, wildcards)
    return {**one_model(config, wildcards), "block": chosen["block"], "head": chosen["head"]}


def segmentation_scores_figure(config: Config, _wildcards: Wildcards) -> Slice:
    """A bar per method and model."""
    return {"models": labelled(config, "segmentation_scores")}


class_vs_context_figure = one_model
class_building_figure = one_model
removal_curves_figure = one_model
linear_probes_figure = one_model
