"""Which images a data set gives. Light: it runs while the Snakefile is read."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from classlens.data import cifar100, digits, image_folder, imagenet_s
from classlens.data.stimulus import SPLITS, Stimulus
from classlens.errors import InputError

log = logging.getLogger(__name__)


class Kind(Protocol):
    """What each kind of data set answers, given its section of the config and its name for messages."""

    def stimuli(self, dataset: Mapping[str, Any], name: str, /) -> list[Stimulus]:
        """Return every image, class by class; the selection by number is common to all kinds."""
        ...

    def class_count(self, dataset: Mapping[str, Any], name: str, /) -> int:
        """Return the number of classes that class indices come from."""
        ...

    def has_masks(self, dataset: Mapping[str, Any], /) -> bool:
        """Tell whether evaluation images have masks."""
        ...

    def raw_images(self, dataset: Mapping[str, Any], chosen: Sequence[Stimulus], name: str, /) -> list[str]:
        """Return the files of chosen images."""
        ...

    def raw_masks(self, dataset: Mapping[str, Any], chosen: Sequence[Stimulus], name: str, /) -> list[str]:
        """Return the files of chosen images' masks."""
        ...


KINDS: dict[str, Kind] = {
    "digits": digits,
    "imagenet_s": imagenet_s,
    "cifar100": cifar100,
    "image_folder": image_folder,
}


def select(dataset: Mapping[str, Any], name: str = "NAME") -> list[Stimulus]:
    """Return the images of a data set, the evaluation split first.

    Args:
        dataset: the data set's section of the config.
        name: its name, for messages.

    Raises:
        InputError: files are missing, or a class has too few images.
    """
    excluded = set(dataset["exclude_classes"])
    offered: dict[tuple[str, str], list[Stimulus]] = defaultdict(list)
    for item in KINDS[dataset["kind"]].stimuli(dataset, name):
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
    return KINDS[dataset["kind"]].class_count(dataset, name)


def has_masks(dataset: Mapping[str, Any]) -> bool:
    """Tell whether a data set says which pixels show the class."""
    return KINDS[dataset["kind"]].has_masks(dataset)


def raw_images(dataset: Mapping[str, Any], chosen: Sequence[Stimulus], name: str = "NAME") -> list[str]:
    """Return the raw files that chosen images come from."""
    return KINDS[dataset["kind"]].raw_images(dataset, chosen, name)


def raw_masks(dataset: Mapping[str, Any], chosen: Sequence[Stimulus], name: str = "NAME") -> list[str]:
    """Return the raw files that the masks of the chosen evaluation images come from.

    Raises:
        InputError: the data set has no masks, or an image has none.
    """
    return KINDS[dataset["kind"]].raw_masks(dataset, [item for item in chosen if item.split == "evaluation"], name)
