"""Look over a config before anything runs: everything that is wrong at once, and what a run would take."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from classlens.config import Config, read_config
from classlens.data.pixels import require_same_size
from classlens.data.select import few_training_images
from classlens.data.source import Source
from classlens.data.stimulus import SPLITS, Stimulus
from classlens.data.threads import in_order
from classlens.errors import InputError
from classlens.models.architecture import with_architectures
from classlens.models.head import read_head

BYTES_PER_TOKEN = 3 * (2 + 4 + 5 * 2) + 2 * 5 * 2
"""Of one token in a layer file: rank, logit and top 5 at three sites, five keys of two branches."""
PACKED = 0.7
"""Share of that which compression leaves, as measured on ViT-B/32 and ViT-B/16."""
THREADS = os.cpu_count() or 1
MOST_NAMED = 10
"""Problems of one kind that are spelled out."""


@dataclass
class Findings:
    """What `check` found."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a run would use and take."""

    def attempt(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function; an InputError becomes problems, and None is returned."""
        try:
            return function(*arguments)
        except InputError as error:
            self.problems += str(error).splitlines()
            return None


def check(path: Path | str, *, quick: bool = False) -> Findings:
    """Check a config, and the data, masks, weights and heads that it names.

    Args:
        path: the config file.
        quick: neither open the images nor run a model.
    """
    findings = Findings()
    config: Config | None = findings.attempt(read_config, path)
    if config is None:
        return findings
    chosen = {
        name: stimuli for name in config.datasets if (stimuli := findings.attempt(config.stimuli, name)) is not None
    }
    for name, stimuli in chosen.items():
        findings.notes.append(_count(config.source(name), config.datasets[name], stimuli))
        if warning := few_training_images(config.source(name), stimuli, config.datasets[name]):
            findings.notes.append(f"warning: {warning}")
        findings.attempt(config.raw_images, name)
        if config.source(name).has_masks:
            findings.attempt(config.raw_masks, name)
        if not quick:
            _check_images(config.source(name), stimuli, findings)
    for model, entry in config.models.items():
        if entry["weights"] == "pretrained":
            findings.notes.append(
                f"models.{model}: weights are `pretrained`, as they are without the key: those that timm publishes, "
                f"downloaded where they are not cached"
            )
    known: Config | None = findings.attempt(with_architectures, config) if len(chosen) == len(config.datasets) else None
    if known is None:
        return findings
    findings.attempt(known.require_training_images)
    for model in known.models:
        findings.attempt(_check_classes, known, model, chosen[known.models[model]["dataset"]])
        findings.attempt(_check_weights, known, model)
        findings.attempt(_check_names, known, model, chosen[known.models[model]["dataset"]])
    if not quick and not findings.problems:
        from classlens.estimate import time_notes

        findings.notes += [*(findings.attempt(time_notes, known, chosen) or []), _disk(known, chosen)]
    return findings


def _count(source: Source, selection: Mapping[str, Any], stimuli: Sequence[Stimulus]) -> str:
    splits = Counter(item.split for item in stimuli)
    classes = {item.class_id: item.class_name for item in stimuli if item.split == "evaluation"}
    shown = ", ".join(list(classes.values())[:MOST_NAMED]) + (", ..." if len(classes) > MOST_NAMED else "")
    # A folder that is not split gives all of its images for evaluation where no number is asked for.
    offered = [*source.stimuli({**selection, "per_class": None}), *source.stimuli(selection)]
    places = [f"{_per_class(stimuli, offered, split)} per class for {split}" for split in SPLITS]
    return (
        f"datasets.{source.name}: {splits['evaluation']} evaluation and {splits['training']} training images of "
        f"{len(classes)} classes ({shown}); {', '.join(places)}"
    )


def _per_class(chosen: Sequence[Stimulus], offered: Sequence[Stimulus], split: str) -> str:
    """Return how many images of each class are taken of how many."""
    classes = {item.class_id for item in chosen}

    def spread(items: Sequence[Stimulus]) -> str:
        files = {(item.class_id, item.file) for item in items if item.split == split and item.class_id in classes}
        counts = Counter(class_id for class_id, _ in files)
        least, most = (choose(counts[class_id] for class_id in classes) for choose in (min, max))
        return f"{least}" if least == most else f"{least} to {most}"

    return f"{spread(chosen)} of {spread(offered)}"


def _check_images(source: Source, stimuli: list[Stimulus], findings: Findings) -> None:
    """Decode every image, and the masks of evaluation images, as a run would."""

    def problem(item: Stimulus) -> str | None:
        try:
            image = source.image(item.file)
            if source.has_masks and item.split == "evaluation":
                require_same_size(item.file, image, Image.fromarray(source.mask(item.file, item.class_id)))
        except InputError as error:
            return str(error)
        return None

    found = [text for _, text in in_order(problem, stimuli, THREADS, f"looking at {source.name}") if text is not None]
    findings.problems += found[:MOST_NAMED]
    if len(found) > MOST_NAMED:
        findings.problems.append(f"datasets.{source.name}: {len(found) - MOST_NAMED} more images or masks like these")
    masks = sum(item.split == "evaluation" for item in stimuli) if source.has_masks else 0
    if not found:
        findings.notes.append(f"datasets.{source.name}: {len(stimuli)} images and {masks} masks were read")


def _check_classes(config: Config, model: str, stimuli: list[Stimulus]) -> None:
    highest, count = max(item.class_index for item in stimuli), config.architecture(model)["num_classes"]
    if highest >= count:
        raise InputError(
            f"models.{model}: the data set has the class {highest}, but the model only the classes 0..{count - 1}; "
            f"set options.num_classes, or take weights or a head that know all classes"
        )


def _check_weights(config: Config, model: str) -> None:
    from classlens.models.architecture import model_options
    from classlens.models.canonical import require_finite
    from classlens.models.weights import assemble

    entry = config.models[model]
    if config.trained(model) or entry["weights"] in ("random", "pretrained"):
        return
    filled = assemble(
        Path(entry["weights"]),
        architecture=entry["architecture"],
        options=model_options(config, model),
        origin="file",
        head=Path(entry["head"]) if entry["head"] else None,
    )
    require_finite(filled, entry["weights"])


def _check_names(config: Config, model: str, stimuli: list[Stimulus]) -> None:
    """Compare a head's class names with the data set's, index by index."""
    path = config.models[model]["head"]
    names = read_head(path).class_names if path and not config.is_twin(model) else None
    if names is None:
        return
    pairs = {(item.class_index, item.class_id, item.class_name) for item in stimuli if item.class_index < len(names)}
    other = sorted(entry for entry in pairs if names[entry[0]] not in entry[1:])
    if other:
        index, class_id, _ = other[0]
        raise InputError(
            f"models.{model}.head: {path} calls class {index} {names[index]!r}, the data set {class_id!r}"
            f"{f' ({len(other)} such classes)' if len(other) > 1 else ''}; bring them into one order"
        )


def _disk(config: Config, chosen: dict[str, list[Stimulus]]) -> str:
    """Say what pixels and layer files take."""
    size, shards = 0.0, 0.0
    for model in config.models:
        facts = config.architecture(model)
        images = sum(item.split == "evaluation" for item in chosen[config.models[model]["dataset"]])
        shards += images * facts["depth"] * facts["tokens"] * BYTES_PER_TOKEN * PACKED
    for name, stimuli in chosen.items():
        geometries = {config.geometry(model) for model in config.models if config.models[model]["dataset"] == name}
        size += sum(geometry.size**2 * 3 for geometry in geometries) * len(stimuli)
    return (
        f"disk: about {(size + shards) / 1e9:.2f} GB under results/, which the store shares where it can link, and "
        f"{shards / 1e9:.2f} GB more in the store until `classlens store gc`"
    )
