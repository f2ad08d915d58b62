"""Which images of a data set are chosen, for all kinds. Light: it runs while the workflow is planned."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from classlens.data.raw import require_text
from classlens.data.source import Source, composed
from classlens.data.stimulus import SPLITS, Stimulus
from classlens.errors import InputError

log = logging.getLogger(__name__)


def select(source: Source, selection: Mapping[str, Any]) -> list[Stimulus]:
    """Return the images of a data set, the evaluation split first.

    Args:
        source: the data set.
        selection: `per_class`, `train_per_class`, `exclude_classes` and `too_few` of its section of the config, and,
            where class indices are other ones than the data set's, `class_indices` by class name.

    Raises:
        InputError: files are missing or have names that are no text, or a class has too few images.
    """
    excluded = {composed(class_id) for class_id in selection["exclude_classes"]}
    indices = selection.get("class_indices")
    offered: dict[tuple[str, str], list[Stimulus]] = defaultdict(list)
    for item in source.stimuli(selection):
        require_text(item.file)
        if composed(item.class_id) not in excluded:
            own = item if indices is None else replace(item, class_index=indices[item.class_name])
            offered[item.split, item.class_id].append(own)
    held = {one: reason for one, reason in source.without_images().items() if composed(one) not in excluded}
    short = _too_few(offered, held, selection, source.name)
    limits = {"evaluation": selection["per_class"], "training": selection["train_per_class"]}
    chosen = [
        item
        for split in SPLITS
        for (own, class_id), items in offered.items()
        if own == split and class_id not in short
        for item in items[: limits[split]]
    ]
    if not any(item.split == "evaluation" for item in chosen):
        cause = "look whether its root is right"
        if short:
            cause = "too_few: skip leaves out every class; lower per_class"
        elif excluded and not offered:
            cause = "exclude_classes names every class; leave out fewer"
        raise InputError(f"datasets.{source.name} gives no evaluation image: {cause}")
    return chosen


def digest_of_choice(chosen: Sequence[Stimulus]) -> str:
    """Return the SHA-256 (hex) of chosen images' splits, classes and file names, in their order, without contents."""
    digest = hashlib.sha256()
    for item in chosen:
        digest.update(repr((item.split, item.class_index, item.class_id, item.class_name, item.file)).encode())
    return digest.hexdigest()


def few_training_images(source: Source, chosen: Sequence[Stimulus], selection: Mapping[str, Any]) -> str | None:
    """Return a warning if chosen classes have fewer training images than asked for; all that exist are taken.

    Arguments are those of `select`, and what it returned.
    """
    wanted = selection["train_per_class"]
    counts = dict.fromkeys((item.class_id for item in chosen), 0)
    for item in chosen:
        counts[item.class_id] += item.split == "training"
    short = sorted((class_id for class_id in counts if counts[class_id] < (wanted or 0)), key=lambda c: counts[c])
    if not short:
        return None
    named = ", ".join(f"{class_id} ({counts[class_id]})" for class_id in short[:5])
    return (
        f"datasets.{source.name}: {len(short)} of {len(counts)} classes have fewer training images than "
        f"train_per_class = {wanted}, all of which are taken: {named}{' and more' if len(short) > 5 else ''}; to get "
        f"more, {source.more_training}"
    )


def images_per_class(source: Source, chosen: Sequence[Stimulus], selection: Mapping[str, Any]) -> str:
    """Say how many images of each class are taken of how many; arguments are those of `few_training_images`."""
    # A folder that is not split gives all of its images for evaluation where no number is asked for.
    offered = [*source.stimuli({**selection, "per_class": None}), *source.stimuli(selection)]
    classes = {item.class_id for item in chosen}

    def spread(items: Sequence[Stimulus], split: str) -> str:
        files = {(item.class_id, item.file) for item in items if item.split == split}
        counts = Counter(class_id for class_id, _ in files)
        least, most = (choose(counts[class_id] for class_id in classes) for choose in (min, max))
        return f"{least}" if least == most else f"{least} to {most}"

    return ", ".join(f"{spread(chosen, split)} of {spread(offered, split)} per class for {split}" for split in SPLITS)


def _too_few(
    offered: Mapping[tuple[str, str], list[Stimulus]], held: Mapping[str, str], selection: Mapping[str, Any], name: str
) -> set[str]:
    """Return the classes with fewer evaluation images than asked for, or none of what they hold; they are skipped."""
    wanted = selection["per_class"]
    counts = {c: len(offered.get(("evaluation", c), ())) for _, c in offered}
    short = held.keys() | {c for c, count in counts.items() if count < (wanted or 0)}
    if short and selection["too_few"] == "error":
        named = sorted(short, key=lambda c: (c not in held, c))[:5]
        listed = ", ".join(f"{c} ({held[c] if c in held else counts[c]})" for c in named)
        raise InputError(
            f"datasets.{name}: classes with fewer than per_class = {wanted or 1} evaluation images: {listed}"
            f"{' and more' if len(short) > 5 else ''}; "
            f"{'convert or move their images' if held else 'lower per_class'}, or set too_few: skip"
        )
    if short:
        log.warning("datasets.%s: skipped for want of images: %s", name, ", ".join(sorted(short)))
    return set(short)
