"""How long a run takes on this machine, by stage, from short trials on made-up images and fresh weights."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from classlens.catalog.job import Job, Wildcards
from classlens.catalog.rules import pass_of, rules_of
from classlens.catalog.settings import settings_of
from classlens.catalog.wanted import wanted_files
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
from classlens.timing import TRIAL_IMAGES, Span, Stage, per_image
from classlens.trial import Trial
from classlens.trials import training

DECODERS = min(8, os.cpu_count() or 1)
"""Threads of a job that decodes images."""
NETWORK = ("network", "shard", "training_shard")
"""Settings that passes do not get."""
UNKNOWN = (
    "downloads of pretrained weights, each job's start (seconds), memories, measures with their tables and figures, "
    "and waiting for a busy device"
)


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
        for dataset, stimuli in chosen.items():
            spans["data"] = spans.get("data", Span()) + _decoding(config, dataset, stimuli)
        for model in config.models:
            identity = digest_json(built_as(config, model))  # a random twin is as fast as its model
            own = [(job, wildcards) for job, wildcards in jobs if wildcards.get("model") == model]
            for stage in _stages(config, model, own):
                key = f"{identity} {stage.key or stage.name}"
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


def _decoding(config: Config, dataset: str, stimuli: Sequence[Stimulus]) -> Span:
    """Return what images and masks of a data set take, once per geometry."""
    source, total = config.source(dataset), Span()
    some = [stimuli[index * len(stimuli) // TRIAL_IMAGES] for index in range(TRIAL_IMAGES)]
    masked = sum(item.split == "evaluation" for item in stimuli) if source.has_masks else 0
    models = [model for model in config.models if config.models[model]["dataset"] == dataset]
    for geometry in {config.geometry(model) for model in models}:
        rate = per_image(lambda count, geometry=geometry: [geometry.image(source.image(i.file)) for i in some[:count]])  # type: ignore[misc]
        # A mask's job decodes its image, too.
        total += rate * ((len(stimuli) + 2 * masked) / DECODERS)
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
        passes = [one for one in jobs if "of" in one[0].functions]
        yield from _of_passes(config, trial, passes, counts)
        tried: dict[str, list[dict[str, Any]]] = {}
        for job, wildcards in jobs:
            if job.trial:
                local = [name for name in job.local if name.startswith("probes.")]
                tried.setdefault(job.trial, []).append(_settings((*job.settings, *local), job, config, wildcards))
        for function, settings in tried.items():
            yield from load(function)(trial, settings, *counts)


def _of_passes(
    config: Config, trial: Trial, jobs: Sequence[tuple[Job, Wildcards]], counts: tuple[int, int]
) -> Iterator[Stage]:
    """Yield what jobs of passes do, and those that sum for them; those that take equally long per image together."""
    images: dict[str, int] = {}
    tried: dict[str, tuple[Job, Wildcards]] = {}
    for job, wildcards in jobs:
        shard = settings_of([name for name in job.settings if name.endswith("shard")], config, wildcards)
        key = digest_json([job.functions, str(_settings(job.settings, job, config, wildcards))])
        images[key] = images.get(key, 0) + (shard["stop"] - shard["start"] if shard else counts[0])
        tried.setdefault(key, (job, wildcards))
    for key, (job, wildcards) in tried.items():
        settings = _settings(job.settings, job, config, wildcards)
        declared, of = pass_of(job), load(job.functions["of"])
        if declared is None:
            stages = trial.of_sums(of, settings, images[key])
        else:
            inputs = declared.inputs.items()
            read = {name: files(config, wildcards) if callable(files) else files for name, files in inputs}
            sums = load(declared.sums) if declared.sums else None
            if "sums" in job.functions and sums:
                yield from (replace(one, key=f"sums {key}") for one in trial.of_sums(sums, {}, images[key]))
            stages = trial.of_pass(of, sums, read, settings, images[key])
        yield from (replace(one, key=key) for one in stages)


def _settings(names: Sequence[str], job: Job, config: Config, wildcards: Wildcards) -> dict[str, Any]:
    """Return the settings of a job beside those of its model, with what plug-ins give."""
    plugins = {key: load(function) for key, function in settings_of(job.plugins, config, wildcards).items()}
    return {**settings_of([name for name in names if name not in NETWORK], config, wildcards), **plugins}
