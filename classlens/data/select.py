"""Which images a data set gives. Light: it runs while the Snakefile is read."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from classlens.data import digits, imagenet_s
from classlens.data.stimulus import SPLITS, Stimulus
from classlens.errors import InputError

log = logging.getLogger(__name__)

LISTERS: dict[str, Callable[[Mapping[str, Any], str], list[Stimulus]]] = {
    "digits": digits.stimuli,
    "imagenet_s": imagenet_s.stimuli,
}
"""Every image of a kind, class by class; the selection by number is common to all kinds."""


def select(dataset: Mapping[str, Any], name: str = "NAME") -> list[Stimulus]:
    """Return the images of a data set, the evaluation split first.

    Args:
        dataset: the data set's section of the config.
        name: its name, for messages.

    Raises:
        InputError: files are missing, or a class has too few images.
    """
    kind = dataset["kind"]
    if kind not in LISTERS:
        raise InputError(f"config: datasets.{name}.kind: {kind} is not supported yet; take one of {', '.join(LISTERS)}")
    excluded = set(dataset["exclude_classes"])
    offered: dict[tuple[str, str], list[Stimulus]] = defaultdict(list)
    for item in LISTERS[kind](dataset, name):
        if item.class_id not in excluded:
            offered[item.split, item.class_id].append(item)
    short = _too_few(offered, dataset, name)
    limits = {"evaluation": dataset["per_class"], "training": dataset["train_per_class"]}
    chosen = [
        item
        for split in SPLITS
        for (own, class_id), items in offered.items()
        if own == split and class_id not in short
        for item in items[: limits[split]]
    ]
    if not any(item.split == "evaluation" for item in chosen):
        raise InputError(f"datasets.{name} gives no evaluation image; check root, per_class and exclude_classes")
    return chosen


def _too_few(offered: Mapping[tuple[str, str], list[Stimulus]], dataset: Mapping[str, Any], name: str) -> set[str]:
    """Return the classes with fewer evaluation images than asked for; they are skipped."""
    wanted = dataset["per_class"]
    if wanted is None:
        return set()
    classes = {class_id for _, class_id in offered}
    short = {c for c in classes if len(offered.get(("evaluation", c), [])) < wanted}
    if short and dataset["too_few"] == "error":
        counts = ", ".join(f"{c} ({len(offered.get(('evaluation', c), []))})" for c in sorted(short)[:5])
        raise InputError(
            f"datasets.{name}: classes with fewer than per_class = {wanted} evaluation images: {counts}"
            f"{' and more' if len(short) > 5 else ''}; lower per_class, or set too_few: skip"
        )
    if short:
        log.warning("datasets.%s: skipped for want of images: %s", name, ", ".join(sorted(short)))
    return short


def class_count(dataset: Mapping[str, Any], name: str = "NAME") -> int:
    """Return the number of classes that a data set's class indices come from."""
    counts: dict[str, Callable[[Mapping[str, Any], str], int]] = {
        "digits": lambda *_: digits.CLASSES,
        "imagenet_s": imagenet_s.class_count,
    }
    if dataset["kind"] not in counts:
        raise InputError(f"data sets of kind {dataset['kind']} are not supported yet")
    return counts[dataset["kind"]](dataset, name)


def has_masks(dataset: Mapping[str, Any]) -> bool:
    """Tell whether a data set says which pixels show the class."""
    return dataset["kind"] in ("digits", "imagenet_s") or bool(dataset["masks"])


def raw_images(dataset: Mapping[str, Any], name: str = "NAME") -> list[str]:
    """Return the raw files that a data set's images come from."""
    if dataset["kind"] == "digits":
        return [str(digits.source())]
    return [str(imagenet_s.image_path(dataset["root"], item.file)) for item in select(dataset, name)]


def raw_masks(dataset: Mapping[str, Any], name: str = "NAME") -> list[str]:
    """Return the raw files that the masks of the evaluation images come from.

    Raises:
        InputError: an image has no mask.
    """
    if dataset["kind"] == "digits":
        return [str(digits.source())]
    evaluation = [item for item in select(dataset, name) if item.split == "evaluation"]
    return [str(imagenet_s.mask_path(dataset["root"], item.file, name)) for item in evaluation]
