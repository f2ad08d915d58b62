"""What a run leaves out of what it was asked for, and of what it does where nothing is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from classlens.catalog import applicable, planning
from classlens.catalog.analyses import ANALYSES, GROUPS
from classlens.catalog.configs import schema
from classlens.catalog.job import GROUPS as GROUPS_OF_IMAGES
from classlens.catalog.job import HEATMAP_METHOD, RANKS, SERIES
from classlens.catalog.methods import METHODS
from classlens.models.facts import PROBES
from classlens.models.facts import REASONS as METHOD_REASONS

if TYPE_CHECKING:
    from classlens.config import Config

DEFAULT_METHOD = schema()["properties"]["explanations"]["properties"]["heatmap_method"]["default"]


class LeftOut(NamedTuple):
    """What is left out, in one line with the reason, and whether the config asks for it by name."""

    text: str
    asked: bool


def left_out(config: Config) -> Iterator[LeftOut]:
    """Yield what a run leaves out of each model, and of the figures.

    Args:
        config: with the facts about architectures.
    """
    for model in config.models:
        if not config.is_derived(model):
            yield from _analyses(config, model)
            yield from _methods(config, model)
            if config.lens_page["images"] and not applicable.has(config, model, RANKS):
                text = f"models.{model}: its lens page is left out: it {applicable.reason(config, model, RANKS)}"
                yield LeftOut(text, asked=False)
            if config.twin(model) is None:
                yield LeftOut(f"models.{model}: no random twin is run beside it (random_twin: false)", asked=False)
    for name in config.figures or ():
        group = ANALYSES[name].group
        if not planning.runs(config, group):
            yield LeftOut(
                f"figures: {name} is left out, for no model runs {group}; take it out of the list", asked=True
            )
    models = list(config.models)
    if (
        config.explanations["methods"]
        and any(applicable.methods(config, model) for model in models)
        and not any(planning.explained_methods(config, model) for model in models)
    ):
        text = "explanations.methods: no explanation is compared, for no model runs an analysis that compares them"
        yield LeftOut(text, asked=True)


def _analyses(config: Config, model: str) -> Iterator[LeftOut]:
    wanted = config.models[model]["analyses"]
    by_need: dict[str, list[str]] = {}
    for group in GROUPS if wanted is None else wanted:
        missing = next((need for need in GROUPS[group].needs if not applicable.has(config, model, need)), None)
        # That a model is no series, or images are in no groups, is nothing to tell of.
        if missing is not None and (missing not in (SERIES, GROUPS_OF_IMAGES) or wanted is not None):
            by_need.setdefault(missing, []).append(group)
    method = config.explanations["heatmap_method"]
    for need, groups in by_need.items():
        what, each = ", ".join(groups), "each " if len(groups) > 1 else "it "
        way_out = "" if wanted is None else f"; or take {what} out of models.{model}.analyses"
        # The one that heat maps show is for all models, as other explanations are.
        chosen = (
            need == HEATMAP_METHOD
            and method != DEFAULT_METHOD
            and not any(planning.runs(config, group) for group in groups)
        )
        yield LeftOut(
            f"models.{model}: {what} left out: {each}{applicable.reason(config, model, need)}{way_out}",
            wanted is not None or chosen,
        )


def _methods(config: Config, model: str) -> Iterator[LeftOut]:
    """Yield the explanations of a model; those of a list that is for all models are missed where no model has them."""
    wanted, there = config.explanations["methods"], applicable.methods(config, model)
    anywhere = {name for other in config.models for name in planning.explained_methods(config, other)}
    by_reason: dict[tuple[str, bool], list[str]] = {}
    for name in (wanted or METHODS) if planning.explained_methods(config, model) or wanted else ():
        if name not in there:
            asked = wanted is not None and name not in anywhere
            by_reason.setdefault((_why_not(config, model, name), asked), []).append(name)
    for (reason, asked), names in by_reason.items():
        what = ", ".join(names)
        way_out = f"; or take {what} out of explanations.methods" if asked else ""
        yield LeftOut(f"models.{model}: explanations left out: {what}: {reason}{way_out}", asked)


def _why_not(config: Config, model: str, method: str) -> str:
    if PROBES in METHODS[method].needs:
        if not applicable.has(config, model, RANKS):
            return f"it {applicable.reason(config, model, RANKS)}"
        return f"{METHOD_REASONS[PROBES]}, at all blocks and tokens"
    lacks = config.architecture(model)["lacks"]
    return next(lacks[need] for need in METHODS[method].needs if need in lacks)
