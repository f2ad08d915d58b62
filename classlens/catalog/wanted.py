"""The jobs of models that `all` runs, found as Snakemake finds them: from results back to what they are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from classlens.catalog import files, planning
from classlens.catalog.analyses import ANALYSES, JOBS
from classlens.catalog.job import Files, Job, Wildcards
from classlens.catalog.methods import METHODS
from classlens.catalog.rules import rules_of
from classlens.config.config import Config

WantedJob = tuple[Job, Wildcards]


def wanted_files(config: Config) -> dict[str, WantedJob | None]:
    """Return the files that `all` needs below its figures, each with the job that makes it.

    None: a job of data or weights.

    Args:
        config: with the facts about architectures.
    """
    producer = producers(rules_of(config), tuple(config.models))
    found: dict[str, WantedJob | None] = {}
    queue = list(_measured(config))
    while queue:
        path = queue.pop()
        if path not in found:
            found[path] = producer(path)
            job = found[path]
            if job is not None:
                queue += _paths(config, job[1], (*job[0].inputs.values(), *_outputs(job[0])))
            elif (model := path.split("/")[1]) in config.models:
                queue += _of_data(config, {"model": model}, path.rpartition("/")[2])
    return found


def producers(rules: Iterable[Job], models: tuple[str, ...]) -> Callable[[str], WantedJob | None]:
    """Return what tells which job makes a file.

    Args:
        rules: all of them.
        models: of the config.
    """
    patterns = [(_pattern(path, job, models), job) for job in rules for path in _outputs(job)]

    def producer(path: str) -> WantedJob | None:
        matches = ((pattern.fullmatch(path), job) for pattern, job in patterns)
        return next(((job, match.groupdict()) for match, job in matches if match), None)

    return producer


def _measured(config: Config) -> Iterator[str]:
    """Yield what tables, figures and pages are made of."""
    for analysis in ANALYSES.values():
        read = (*analysis.inputs.values(), *(analysis.figure.inputs.values() if analysis.figure else ()))
        for model in planning.measured_models(config, analysis):
            yield from _paths(config, {"model": model}, read)
    for pair in config.pairs():
        yield from _paths(config, {"pair": pair}, JOBS["difference"].inputs.values())
    page = (files.LAYERS, files.OUTPUT, files.EVALUATION, files.token_labels)
    for model in planning.wanted_pages(config):
        yield from _paths(config, {"model": model}, (*page, planning.page_explanations, planning.page_tuned_lens))


def _of_data(config: Config, wildcards: Wildcards, file: str) -> list[str]:
    """Return the pixels and masks that weights and token labels are made of."""
    if file == "weights.safetensors" and config.trained(wildcards["model"]):
        return [files.TRAINING(config, wildcards), files.EVALUATION(config, wildcards)]
    return [files.PIXEL_MASKS(config, wildcards)] if file == "token_labels.h5" else []


def _paths(config: Config, wildcards: Wildcards, read: Iterable[Files]) -> Iterator[str]:
    for one in read:
        found = one(config, wildcards) if callable(one) else one.format(**wildcards)
        yield from [found] if isinstance(found, str) else found


def _outputs(job: Job) -> Iterator[str]:
    for path in job.outputs.values():
        yield from [path] if isinstance(path, str) else path


def _pattern(path: str, job: Job, models: tuple[str, ...]) -> re.Pattern[str]:
    """Return what a job's output matches, its wildcards having the values that they have in workflow/Snakefile."""
    chosen = models if job.models is None else job.models
    values = {"method": tuple(METHODS), **job.wildcards, "model": chosen}
    named = {"shard": r"\d+", "block": r"\d\d+"}
    named |= {key: "|".join(map(re.escape, names)) for key, names in values.items()}
    parts = re.split(r"\{(\w+)\}", path)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = (f"(?P<{wildcard}>{named.get(wildcard, '[^/]+')})" for wildcard in parts[1::2])
    return re.compile("".join(parts))
