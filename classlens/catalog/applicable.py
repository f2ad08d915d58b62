"""What applies to a model of a config: of jobs, explanations, perturbations and probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from classlens.catalog.job import (
    ATTRIBUTION,
    CLASS_TOKEN,
    FOLDED,
    GROUPS,
    HEATMAP_METHOD,
    MASKS,
    RANKS,
    SERIES,
    SHORTCUT,
    TRAINING_IMAGES,
)
from classlens.catalog.kinds import applicable_attention_kinds
from classlens.catalog.methods import METHODS, applicable_methods
from classlens.config.config import Config
from classlens.errors import InputError
from classlens.models.facts import CLASS_EMBEDDING, CONSTANTS, SCORE, SUM_OVER_TOKENS

REASONS = {
    MASKS: "tells class and context tokens apart, but the data set {dataset} of {model} has no masks",
    CLASS_EMBEDDING: "reads rows of {model}'s head: {reason}",
    FOLDED: "replaces heads of {model}, which its weights cannot say: {reason}",
    CLASS_TOKEN: "looks at [CLS], which {model} does not have",
    ATTRIBUTION: "attributes the output of {model}, which cannot be: {reason}",
    HEATMAP_METHOD: "shows the explanation {method}, which does not apply to {model}; take legrad as "
    "explanations.heatmap_method",
    SERIES: "compares points of training, and {model} is a single one; give it `checkpoints` (docs/series.md)",
    RANKS: "compares classes, and {model} puts out a score, which has none",
    GROUPS: "compares groups of images, and datasets.{dataset} says none (groups, docs/data.md)",
    SHORTCUT: "looks for a shortcut, and no attribute of datasets.{dataset} is named as one (repair.attribute)",
    TRAINING_IMAGES: "needs training images of {model}, but datasets.{dataset} gives none; {more}",
}
"""Why a job cannot run."""
LACKED = {ATTRIBUTION: SUM_OVER_TOKENS, CLASS_EMBEDDING: CLASS_EMBEDDING, FOLDED: CONSTANTS}
"""Needs that are told of by what the model lacks."""


def has(config: Config, model: str, need: str) -> bool:
    """Tell whether a model has what a job needs, one of those in `classlens.catalog.job`."""
    if need in LACKED:
        return LACKED[need] not in config.architecture(model)["lacks"]
    answers: dict[str, Callable[[], Any]] = {
        MASKS: lambda: config.has_masks(config.models[model]["dataset"]),
        TRAINING_IMAGES: lambda: config.images(config.models[model]["dataset"], "training") > 0,
        HEATMAP_METHOD: lambda: (
            config.explanations["heatmap_method"] in applicable_methods(config.architecture(model)["lacks"])
        ),
        # Facts are asked of models alone that may put out a score.
        RANKS: lambda: config.models[model]["one_output"] != SCORE or config.architecture(model)["num_classes"] > 1,
        GROUPS: lambda: config.attributes(config.models[model]["dataset"]),
        SHORTCUT: lambda: config.spurious(config.models[model]["dataset"]) is not None,
        CLASS_TOKEN: lambda: config.architecture(model)["has_class_token"],
        SERIES: lambda: len(config.points(model)) > 1,
    }
    return bool(answers[need]())


def reason(config: Config, model: str, need: str) -> str:
    """Return why a model that has not what a job needs cannot have it, after "it" or the job's name."""
    dataset = config.models[model]["dataset"]
    names = {"model": model, "dataset": dataset, "method": config.explanations["heatmap_method"]}
    more = config.more_training(dataset) if need == TRAINING_IMAGES else ""
    lacked = config.architecture(model)["lacks"][LACKED[need]] if need in LACKED else ""
    return REASONS[need].format(**names, more=more, reason=lacked)


def require(config: Config, model: str, need: str, job: str) -> None:
    """Check that a model has what a job needs.

    Raises:
        InputError: it has not.
    """
    if not has(config, model, need):
        raise InputError(f"{job} {reason(config, model, need)}")


def require_data(config: Config) -> None:
    """Check that there is something to train each model on that the workflow trains, and `repair.attribute` somewhere.

    Raises:
        InputError: there is not.
    """
    known = {name for dataset in config.datasets for name in config.attributes(dataset)}
    if (given := config.repair["attribute"]) is not None and given not in known:
        there = f"has {', '.join(sorted(known))}" if known else "has no groups"
        raise InputError(f"config: repair.attribute: no data set has {given!r}; the config {there}")
    for model in filter(config.trained, config.models):
        require(config, model, TRAINING_IMAGES, "training")


def attention_kinds(config: Config, model: str) -> list[str]:
    """Return the attention perturbations that apply to a model."""
    return list(applicable_attention_kinds(has_class_token=config.architecture(model)["has_class_token"]))


def methods(config: Config, model: str) -> list[str]:
    """Return the explanations of a model that `all` compares: those that apply, of those that are listed."""
    everywhere = config.probes["blocks"] is None and config.probes["tokens"] is None
    probe = ["probe"] if everywhere and all(has(config, model, one) for one in (TRAINING_IMAGES, RANKS)) else []
    wanted = config.explanations["methods"]
    there = (*applicable_methods(config.architecture(model)["lacks"]), *probe)
    return [name for name in there if wanted is None or name in wanted]


def randomised_methods(config: Config, model: str) -> list[str]:
    """Return those of `methods` that are also made of models with reset blocks, whose weights a twin has."""
    return [name for name in methods(config, model) if METHODS[name].compute] if config.twin(model) else []


def removal_counts(config: Config, model: str) -> list[int] | None:
    """Return the numbers of tokens that removal curves of a model keep, None for the default.

    Raises:
        InputError: a number is larger than the model's number of image tokens.
    """
    rows, columns = config.architecture(model)["grid"]
    counts, tokens = config.faithfulness["counts"], rows * columns
    if counts is None:
        return None
    if isinstance(counts, int):
        if counts == 1:
            return [(1 + tokens) // 2]
        steps = max(1, min(counts, tokens) - 1)
        return sorted({1 + round(step * (tokens - 1) / steps) for step in range(steps + 1)})
    if max(counts) > tokens:
        raise InputError(f"config: faithfulness.counts: {model} has {tokens} image tokens, not {max(counts)}")
    return sorted(set(counts))


def probed_blocks(config: Config, depth: int) -> list[int]:
    """Return the blocks that linear probes of a model of this depth read."""
    wanted = config.probes["blocks"]
    return [block for block in range(depth) if wanted is None or block in wanted]
