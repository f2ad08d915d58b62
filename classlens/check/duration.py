"""How long a run takes on this machine, by stage, from short trials on made-up images and fresh weights."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from classlens.catalog.job import Job, Wildcards
from classlens.catalog.rules import pass_of, rules_of
from classlens.catalog.settings import settings_of
from classlens.catalog.wanted import wanted_files
from classlens.check.trials import TRIAL_IMAGES, Stage, Trial, training
from classlens.config import Config
from classlens.config.architecture import built_as
from classlens.data.stimulus import Stimulus
from classlens.declared import load
from classlens.digest import digest_json
from classlens.inference.network import LoadedModel
from classlens.models.build import build
from classlens.models.device import choose_device
from classlens.models.inputs import Normalise
from classlens.models.parallel import canonical_form
from classlens.progress import Progress

REPEATS = 3
ENOUGH = 1.0
"""Seconds that a trial should take at most; after that time two repeats do."""
DECODERS = min(8, os.cpu_count() or 1)
"""Threads of a job that decodes images."""
NETWORK = ("network", "shard", "training_shard")
"""Settings that passes do not get."""
UNKNOWN = (
    "downloads of pretrained weights, each job's start (seconds), memories, measures with their tables and figures, "
    "and waiting for a busy device"
)


@dataclass(frozen=True)
class Span:
    """Seconds, from the fastest repeat to the slowest."""

    low: float = 0
    high: float = 0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Span:
        return Span(self.low * factor, self.high * factor)

    def __str__(self) -> str:
        if self.high < 1:
            return "less than a second"
        low, high = _duration(self.low), _duration(self.high)
        return f"about {low}" if low == high else f"about {low} to {high}"


def time_notes(config: Config, chosen: dict[str, list[Stimulus]]) -> tuple[list[str], list[str]]:
    """Return a line per stage of a run, and one on what is not counted; and a line per trial that failed.

    Args:
        config: with architectures.
        chosen: images by data set.

    Raises:
        InputError: the device is not there.
    """
    spans: dict[str, Span] = {}
    rates: dict[str, Span] = {}
    failures = []
    order = [job.rule for job in rules_of(config)]
    jobs = sorted((job for job in wanted_files(config).values() if job), key=lambda job: order.index(job[0].rule))
    with Progress(len(config.models), "trying models", "model") as progress:
        spans["data"] = sum((_decoding(config, *one) for one in chosen.items()), Span())
        for model in config.models:
            identity = digest_json(built_as(config, model))  # a random twin is as fast as its model
            own = [(job, wildcards) for job, wildcards in jobs if wildcards.get("model") == model]
            for stage in _stages(config, model, own):
                key = f"{identity} {stage.key}"
                try:
                    rates[key] = rates.get(key) or per_image(stage.run)
                    spans[stage.name] = spans.get(stage.name, Span()) + rates[key] * stage.images
                except (RuntimeError, MemoryError) as error:
                    said = str(error).partition("\n")[0]
                    failures.append(f"models.{model}: a trial of its {stage.name} failed, as a run's may: {said}")
            progress.advance()
    total = sum(spans.values(), Span())
    return [
        *(f"{name}: {span}" for name, span in spans.items()),
        f"together: {total} on this machine, one job at a time; not counted are {UNKNOWN}"
        + (", and what the trials failed at" if failures else ""),
    ], failures


def per_image(run: Callable[[int], object]) -> Span:
    """Return the seconds per image of a function of the number of images."""
    run(1)  # the first call is slower than later ones
    found = [_seconds(run, 1)]
    count = max(1, min(TRIAL_IMAGES, int(ENOUGH / found[0])))
    if count > 1:
        found = []
    while len(found) < 2 or (len(found) < REPEATS and sum(found) < ENOUGH):
        found.append(_seconds(run, count))
    return Span(min(found) / count, max(found) / count)


def _seconds(run: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    run(count)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _decoding(config: Config, dataset: str, stimuli: Sequence[Stimulus]) -> Span:
    """Return what images and masks of a data set take, once per geometry."""
    source = config.source(dataset)
    some = [stimuli[index * len(stimuli) // TRIAL_IMAGES] for index in range(TRIAL_IMAGES)]
    # A mask's job decodes its image, too.
    decoded = len(stimuli) + 2 * source.has_masks * config.images(dataset)
    models = [model for model in config.models if config.models[model]["dataset"] == dataset]
    total = Span()
    for geometry in {config.geometry(model) for model in models}:
        rate = per_image(lambda count, geometry=geometry: [geometry.image(source.image(i.file)) for i in some[:count]])  # type: ignore[misc]
        total += rate * (decoded / DECODERS)
    return total


def _stages(config: Config, model: str, jobs: Sequence[tuple[Job, Wildcards]]) -> Iterator[Stage]:
    """Yield what a model's jobs do with images."""
    (architecture, options), transform = built_as(config, model), config.transform(model)
    device, extraction = choose_device(config.extraction["device"]), config.extraction
    network: Any = canonical_form(build(architecture, options)).to(device)
    normalise = Normalise(transform["mean"], transform["std"], device)
    loaded = LoadedModel(network, architecture, normalise, extraction["precision"], device)
    dataset = config.models[model]["dataset"]
    counts = config.images(dataset), config.images(dataset, "training")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(loaded, Path(folder), extraction["batch_size"], config.architecture(model)["image_size"])
        if config.trained(model):
            yield from training(trial, [settings_of(["recipe"], config, {"model": model})], *counts)
        torch.set_num_threads(min(extraction["threads"], os.cpu_count() or 1))
        yield from _of_passes(config, trial, [one for one in jobs if "of" in one[0].functions], counts[0])
        tried: dict[str, list[dict[str, Any]]] = {}
        for job, wildcards in jobs:
            if job.trial:
                local = [name for name in job.local if name.startswith("probes.")]
                tried.setdefault(job.trial, []).append(_settings(job, config, wildcards, *local))
        for function, settings in tried.items():
            yield from load(function)(trial, settings, *counts)


def _of_passes(config: Config, trial: Trial, jobs: Sequence[tuple[Job, Wildcards]], evaluation: int) -> Iterator[Stage]:
    """Yield what jobs of passes do, and those that sum for them; those that take equally long per image together."""
    images: dict[str, int] = {}
    tried: dict[str, tuple[Job, Wildcards, dict[str, Any]]] = {}
    for job, wildcards in jobs:
        settings = _settings(job, config, wildcards)
        shard = settings_of([name for name in job.settings if name.endswith("shard")], config, wildcards)
        key = digest_json([job.functions, str(settings)])
        images[key] = images.get(key, 0) + (shard["stop"] - shard["start"] if shard else evaluation)
        tried.setdefault(key, (job, wildcards, settings))
    for key, (job, wildcards, settings) in tried.items():
        declared, of = pass_of(job), load(job.functions["of"])
        if declared is None:
            yield from trial.of_sums(of, settings, images[key], key)
            continue
        sums = load(declared.sums) if declared.sums else None
        if "sums" in job.functions and sums:
            yield from trial.of_sums(sums, {}, images[key], f"sums {key}")
        read = {name: file(config, wildcards) if callable(file) else file for name, file in declared.inputs.items()}
        yield from trial.of_pass(of, sums, read, settings, images[key], key)


def _settings(job: Job, config: Config, wildcards: Wildcards, *local: str) -> dict[str, Any]:
    """Return the settings of a job beside those of its model, with some that are no part of its key, and plug-ins."""
    plugins = {key: load(function) for key, function in settings_of(job.plugins, config, wildcards).items()}
    names = [name for name in (*job.settings, *local) if name not in NETWORK]
    return {**settings_of(names, config, wildcards), **plugins}
