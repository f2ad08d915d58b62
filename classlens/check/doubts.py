"""What a run would do, or leave out, and its user probably does not mean: doubts, each in a line with the way out.

`classlens check` lists them and ends with status 3; a run prints them in its first second and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from classlens.catalog import applicable, planning
from classlens.catalog.analyses import ANALYSES, GROUPS
from classlens.catalog.configs import schema
from classlens.catalog.job import GROUPS as GROUPS_OF_IMAGES
from classlens.catalog.job import HEATMAP_METHOD, RANKS, SERIES
from classlens.catalog.methods import METHODS
from classlens.data.classes import CLASSES
from classlens.data.source import composed
from classlens.models.facts import PROBES, REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classlens.config import Config

NUMBERED = re.compile(r"(label|class)?[_ -]*\d+")
"""Names of classes that say no more than an index, in lower case."""
DEFAULT_METHOD = schema()["properties"]["explanations"]["properties"]["heatmap_method"]["default"]


def doubts(config: Config) -> list[str]:
    """Return what is doubtful about a config's data sets and models, from names and counts alone.

    Args:
        config: with the facts about architectures.

    Raises:
        InputError: a data set cannot be listed.
    """
    found = [doubt for name in config.datasets for doubt in config.source(name).doubts(config.selection(name))]
    for model in config.models:
        if not config.is_derived(model):
            found += _of_classes(config, model)
    return [*found, *(text for text, asked in left_out(config) if asked)]


def _of_classes(config: Config, model: str) -> list[str]:
    """Return the doubt whether a model's class indices are those of its data set."""
    dataset = config.models[model]["dataset"]
    own = {item.class_index: (item.class_id, item.class_name) for item in config.stimuli(dataset)}
    whose, names = _class_names(config, model)
    if names and not all(NUMBERED.fullmatch(name.casefold()) for name in names):
        # Names that differ in upper and lower case alone may be two classes where all are spelled alike.
        is_spelled = all({*names} & {*known} for known in own.values())
        other = [
            index
            for index, known in own.items()
            if index < len(names) and not (names[index] in known if is_spelled else _alike(names[index], known))
        ]
        if not other:
            return []
        spelled = ", or ".join(dict.fromkeys(own[other[0]]))
        return [
            f"{whose} calls class {other[0]} {names[other[0]]!r}, datasets.{dataset} {spelled!r}"
            f"{f' ({len(other)} such classes)' if len(other) > 1 else ''}; list the classes in the model's order in "
            f"classes.txt beside the data"
        ]
    source, count, known = config.source(dataset), config.architecture(model)["num_classes"], config.classes(dataset)
    if count <= known or config.trained(model) or source.listed:
        return []
    way = "" if source.listed is None else f"list the model's classes, in its order, in {source.root / CLASSES}, or "
    return [
        f"models.{model}: it has {count:,} classes, and datasets.{dataset} only {known:,}, which are taken for its "
        f"first; {way}take weights or a head with these {known:,} classes"
    ]


def _class_names(config: Config, model: str) -> tuple[str, Sequence[str] | None]:
    """Return whose names of classes a model has, for messages, and these: its own head's, else those it came with."""
    if head := config.models[model]["head"]:
        from classlens.models.head import read_head  # which looks at its numbers, by numpy

        return f"models.{model}.head: {head}", read_head(head).class_names
    if texts := config.models[model]["texts"]:
        return f"models.{model}.head: texts", texts["texts"]
    known = cast("Mapping[str, Sequence[str] | None]", config.architecture(model))
    return f"models.{model}: the model", known.get("class_names")


def _alike(name: str, known: tuple[str, str]) -> bool:
    """Tell whether a model's name of a class is one of the data set's; case, separators and form of Unicode are one."""

    def words(text: str) -> str:
        return re.sub(r"[\W_]+", " ", composed(text).casefold()).strip()

    def synonyms(text: str) -> set[str]:  # as ImageNet's names are
        return {words(text), *map(words, text.split(","))}

    return any(words(one) in synonyms(name) or words(name) in synonyms(one) for one in known)


def left_out(config: Config) -> Iterator[tuple[str, bool]]:
    """Yield what a run leaves out of each model, and of the figures.

    Each is a line with the reason, and whether the config asks by name for what is left out.

    Args:
        config: with the facts about architectures.
    """
    for model in config.models:
        if not config.is_derived(model):
            yield from _analyses_left_out(config, model)
            yield from _methods_left_out(config, model)
            if config.lens_page["images"] and not applicable.has(config, model, RANKS):
                yield f"models.{model}: its lens page is left out: it {applicable.reason(config, model, RANKS)}", False
            if config.twin(model) is None:
                yield f"models.{model}: no random twin is run beside it (random_twin: false)", False
    for name in config.figures or ():
        group = ANALYSES[name].group
        if not planning.runs(config, group):
            yield f"figures: {name} is left out, for no model runs {group}; take it out of the list", True
    if (
        config.explanations["methods"]
        and any(applicable.methods(config, model) for model in config.models)
        and not any(planning.explained_methods(config, model) for model in config.models)
    ):
        yield "explanations.methods: no explanation is compared, for no model runs an analysis that compares them", True


def _analyses_left_out(config: Config, model: str) -> Iterator[tuple[str, bool]]:
    wanted = config.models[model]["analyses"]
    by_need: dict[str, list[str]] = {}
    for group in GROUPS if wanted is None else wanted:
        missing = next((need for need in GROUPS[group].needs if not applicable.has(config, model, need)), None)
        # That a model is no series, or images are in no groups, is nothing to tell of.
        if missing is not None and (missing not in (SERIES, GROUPS_OF_IMAGES) or wanted is not None):
            by_need.setdefault(missing, []).append(group)
    is_default = config.explanations["heatmap_method"] == DEFAULT_METHOD
    for need, groups in by_need.items():
        what, each = ", ".join(groups), "each " if len(groups) > 1 else "it "
        way_out = "" if wanted is None else f"; or take {what} out of models.{model}.analyses"
        # The explanation that heat maps show is for all models, as other explanations are.
        runs = any(planning.runs(config, group) for group in groups)
        asked = wanted is not None or (need == HEATMAP_METHOD and not is_default and not runs)
        yield f"models.{model}: {what} left out: {each}{applicable.reason(config, model, need)}{way_out}", asked


def _methods_left_out(config: Config, model: str) -> Iterator[tuple[str, bool]]:
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
        yield f"models.{model}: explanations left out: {what}: {reason}{way_out}", asked


def _why_not(config: Config, model: str, method: str) -> str:
    if PROBES in METHODS[method].needs:
        if not applicable.has(config, model, RANKS):
            return f"it {applicable.reason(config, model, RANKS)}"
        return f"{REASONS[PROBES]}, at all blocks and tokens"
    lacks = config.architecture(model)["lacks"]
    return next(lacks[need] for need in METHODS[method].needs if need in lacks)
