"""What a run would do and its user probably does not mean: doubts, each in one line that names the way out.

`classlens check` lists them and ends with status 3; a run prints them in its first second and goes on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from classlens.data.classes import CLASSES
from classlens.data.source import composed
from classlens.left_out import left_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classlens.config import Config

NUMBERED = re.compile(r"(label|class)?[_ -]*\d+")
"""Names of classes that say no more than an index, in lower case."""


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
    return [*found, *(one.text for one in left_out(config) if one.asked)]


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

    # ImageNet's names are lists of synonyms.
    return any(words(one) in {words(name), *map(words, name.split(","))} for one in known) or any(
        words(name) in {*map(words, one.split(","))} for one in known
    )
