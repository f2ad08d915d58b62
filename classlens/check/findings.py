"""Look over a config before anything runs: everything that is wrong at once, and what a run would take."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from classlens.catalog.applicable import require_data
from classlens.catalog.configs import load_config
from classlens.catalog.files import checkpoint, is_brought
from classlens.check.doubts import doubts, left_out
from classlens.classes import output_indices
from classlens.config import Config
from classlens.config.architecture import built_as, with_architectures
from classlens.config.read import changes, merged, read_chain
from classlens.data.contrast import Contrast, Coverage, seen
from classlens.data.order import as_stored
from classlens.data.pixels import require_same_size
from classlens.data.select import few_training_images, images_per_class
from classlens.data.source import Source
from classlens.data.stimulus import Stimulus
from classlens.data.threads import in_order
from classlens.errors import InputError
from classlens.models.saved import local_folder
from classlens.sources.place import named, spread

THREADS = os.cpu_count() or 1
NO_FILES = ("random", "pretrained")
"""Weights that are no file of the user's."""
MOST_SHOWN = 200
"""Characters of what a config says of one key."""
MOST_NAMED = 10
"""Problems of one kind that are spelled out."""


@dataclass
class Findings:
    """What `check` found."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a run would use and take."""
    doubts: list[str] = field(default_factory=list)
    """What a run would do, but is probably a mistake; see `classlens.check.doubts`."""

    def attempt(self, function: Callable[..., Any], *arguments: Any, of: str = "") -> Any:
        """Call a function; an InputError becomes problems, with what they are of before them, and None is returned."""
        try:
            return function(*arguments)
        except InputError as error:
            self.problems += [f"{of}{line}" for line in str(error).splitlines()]
            return None


def check(path: Path | str, *, quick: bool = False) -> Findings:
    """Check a config, and the data, masks, weights and heads that it names.

    Args:
        path: the config file.
        quick: neither open the images nor run a model.
    """
    findings = Findings()
    chain = findings.attempt(read_chain, path) or []
    findings.notes += _extensions(chain)
    words = merged(chain)
    config: Config | None = findings.attempt(load_config, words) if chain else None
    if config is None:
        return findings
    chosen = {}
    for name in config.datasets:
        missing = _missing_data(config.source(name))
        try:
            chosen[name] = config.stimuli(name)
            findings.notes += missing
        except InputError as error:
            findings.problems += missing or str(error).splitlines()
            with suppress(InputError):  # what is wrong may be what is doubtful, too
                findings.doubts += config.source(name).doubts(config.selection(name))
    for name, stimuli in chosen.items():
        findings.notes += findings.attempt(config.notes, name) or []
        findings.notes += _counts(config.source(name), config.datasets[name], stimuli)
        if few := few_training_images(config.source(name), stimuli, config.datasets[name]):
            # Nobody asked for the number that a config has by default.
            (findings.doubts if "train_per_class" in words["datasets"][name] else findings.notes).append(few)
        findings.attempt(config.raw_images, name)
        # Decoding says the same of every missing mask, and more.
        if (quick or _check_images(config.source(name), stimuli, findings)) and config.source(name).has_masks:
            findings.attempt(config.raw_masks, name)
    for model, entry in config.models.items():
        if config.original(model) != model:
            continue
        findings.problems += _missing_weights(model, entry)
        if is_brought(config, model):
            continue
        if entry["weights"] == "pretrained" and not local_folder(entry["architecture"]):
            published = None
            if not quick:
                from classlens.models.published import published_note

                published = findings.attempt(published_note, entry["architecture"], entry["options"])
            findings.notes.append(
                f"models.{model}: weights are `pretrained`, as they are without the key: those that timm publishes"
                + (f" at {published}" if published else ", downloaded where they are not cached")
            )
    known: Config | None = findings.attempt(with_architectures, config) if len(chosen) == len(config.datasets) else None
    if known is None:
        return findings
    findings.attempt(require_data, known)
    findings.doubts += findings.attempt(doubts, known) or []
    findings.notes += [text for text, asked in left_out(known) if not asked]
    for model in known.models:
        if known.architecture(model)["one_output"] and not known.is_twin(model):
            findings.notes.append(
                f"models.{model}: its one output is read as two classes, class index 0 (negative) and 1 (positive)"
            )
        classes = [item.class_index for item in chosen[known.models[model]["dataset"]]]
        findings.attempt(output_indices, classes, known.architecture(model)["num_classes"], of=f"models.{model}: ")
        if taken := findings.attempt(_check_weights, known, model, quick):
            findings.notes.append(f"models.{model}: {taken}")
    if not quick and not findings.problems:
        from classlens.check.disk import disk_note
        from classlens.check.duration import time_notes

        times, failures = findings.attempt(time_notes, known, chosen) or ([], [])
        findings.notes += [*times, disk_note(known)]
        findings.doubts += failures
    return findings


def _extensions(chain: Sequence[tuple[Path, Mapping[str, Any]]]) -> list[str]:
    """Say what each config changes of the one that it starts from."""
    notes = []
    for place, (file, own) in enumerate(chain[:-1]):
        changed = list(changes(merged(chain[place + 1 :]), own))
        said = [f"{key}: {json.dumps(value) if isinstance(value, Mapping | list) else value}" for key, value in changed]
        shown = "; ".join(one if len(one) <= MOST_SHOWN else f"{one[:MOST_SHOWN]}..." for one in said)
        notes.append(f"config: {file} extends {chain[place + 1][0]}, with {shown or 'nothing of its own'}")
    return notes


def _missing_data(source: Source) -> list[str]:
    """Return what is not there of a published data set, and where it comes from."""
    missing = [f"{_missing(path)} ({what})" for path, what in source.layout().items() if not path.exists()]
    published = [f"published: {step}" for step in source.published] if missing else []
    return [f"datasets.{source.name}: {line}" for line in (*missing, *published)]


def _missing_weights(model: str, entry: Mapping[str, Any]) -> list[str]:
    """Return which of a model's own files are not there, and where its weights are published."""
    files = {key: entry[key] for key in ("weights", "head") if isinstance(entry[key], str)}
    missing = {key: Path(name) for key, name in files.items() if name not in NO_FILES and not Path(name).exists()}
    published = f"; published: {' '.join(entry['published'].split())}" if entry["published"] else ""
    return [
        f"models.{model}.{key}: {_missing(path)}{published if key == 'weights' else ''}"
        for key, path in missing.items()
    ]


def _missing(path: Path) -> str:
    return f"missing{'' if path.is_absolute() else f' in {Path.cwd()}'}: {path}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")


def _counts(source: Source, selection: Mapping[str, Any], stimuli: Sequence[Stimulus]) -> list[str]:
    """Return the numbers of images and classes, and the classes that `too_few: skip` leaves out."""
    splits = Counter(item.split for item in stimuli)
    classes = {item.class_id: item.class_name for item in stimuli if item.split == "evaluation"}
    notes = [
        f"datasets.{source.name}: {splits['evaluation']} evaluation and {splits['training']} training images of "
        f"{len(classes)} classes ({_first([*classes.values()])}); {images_per_class(source, stimuli, selection)}"
    ]
    known = {item.class_id for item in stimuli} | set(selection["exclude_classes"])
    if skipped := sorted({item.class_id for item in source.stimuli(selection)} - known):
        notes.append(f"datasets.{source.name}: {len(skipped)} classes left out (too_few: skip): {_first(skipped)}")
    return notes


def _check_images(source: Source, stimuli: list[Stimulus], findings: Findings) -> bool:
    """Decode every image, and the masks of evaluation images, as a run would; tell whether all are right."""
    contrast, coverage = Contrast(), Coverage()

    def problem(item: Stimulus) -> str | None:
        try:
            image = source.image(item.file)
            contrast.add(seen(image))
            if source.has_masks and item.split == "evaluation":
                mask = source.mask(item.file, item.class_id)
                require_same_size(item.file, image, Image.fromarray(mask))
                coverage.add(mask)
        except InputError as error:
            return str(error)
        return None

    nearby = [stimuli[index] for index in as_stored([item.file for item in stimuli])]
    looked = in_order(problem, nearby, THREADS, f"looking at {source.name}")
    found = [(item, text) for item, text in looked if text is not None]
    findings.problems += _grouped(found, source.name)
    findings.doubts += contrast.doubts(source.name) + coverage.doubts(source.name)
    masks = sum(item.split == "evaluation" for item in stimuli) if source.has_masks else 0
    if not found:
        findings.notes.append(f"datasets.{source.name}: {len(stimuli)} images and {masks} masks were read")
    return not found


def _grouped(found: Sequence[tuple[Stimulus, str]], dataset: str) -> list[str]:
    """Return problems of images: those that differ in the image's name alone in one line, with the first in full."""
    groups: dict[str, list[tuple[Stimulus, str]]] = {}
    for item, text in found:
        alike = text.replace(item.file.replace("#", ": "), "*")  # as messages call packed images
        groups.setdefault(alike.replace(item.file.rpartition(".")[0] or item.file, "*"), []).append((item, text))
    lines = []
    for (_, first), *others in groups.values():
        named = ", ".join(item.file for item, _ in others[:MOST_NAMED])
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        lines.append(f"{first}; {len(others)} more like this: {named}{more}" if others else first)
    if len(lines) > MOST_NAMED:
        lines[MOST_NAMED:] = [
            f"datasets.{dataset}: {len(lines) - MOST_NAMED} more kinds of problems with images or masks"
        ]
    return [line if line.startswith("datasets.") else f"datasets.{dataset}: {line}" for line in lines]


def _check_weights(config: Config, model: str, quick: bool) -> str | None:
    """Fill a model from its file, or compare names and shapes alone, and say what is taken of it."""
    from classlens.models.canonical import require_finite
    from classlens.models.weights import assemble, look_at_file

    entry = config.models[model]
    if is_brought(config, model):
        return _check_source(config, model, quick)
    made = config.trained(model) or config.original(model) != model
    if made or _missing_weights(model, entry) or not (files := checkpoint(config, {"model": model})):
        return None
    file, (architecture, options) = Path(files[0]), built_as(config, model)
    given: dict[str, Any] = {"architecture": architecture, "options": options, "key": entry["weights_key"]}
    given["head"] = Path(entry["head"]) if entry["head"] else None
    taken = look_at_file(file, **given)
    if not quick:
        require_finite(assemble(file, origin="file", **given), str(file))
    return f"of {file} {taken}" if taken else None


def _check_source(config: Config, model: str, quick: bool) -> str:
    """Bring a model of another library to timm, compare the two on images and say how equal they are."""
    from classlens.sources.bring import certified

    entry, told = config.models[model], config.architecture(model).get("source")
    name = named(entry["architecture"])
    if told is None:
        return f"{name} is a model of timm"
    what = f"{name} is a {told['kind']} of {told['library']}, brought to timm's {built_as(config, model)[0]}"
    if quick:
        return what
    source, dataset = config.source(entry["dataset"]), config.stimuli(entry["dataset"])
    files = [item.file for item in dataset if item.split == "evaluation"]
    certificate = certified(name, [source.image(file) for file in spread(files)], config.transform(model))[2]
    return f"{what}: {certificate['text']}"
