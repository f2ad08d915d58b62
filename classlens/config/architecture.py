"""Facts about architectures, kept on disk so that reading the Snakefile imports neither torch nor timm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classlens.data.geometry import sides, simple
from classlens.digest import digest_file, digest_json, write_atomically
from classlens.errors import InputError
from classlens.models.facts import CLS_MEAN, SCORE
from classlens.models.foreign import folder
from classlens.models.imagenet import IMAGENET_CLASSES
from classlens.models.saved import config_file, is_saved
from classlens.shipped import ARCHITECTURES, CACHE, PACKAGE
from classlens.sources import place

if TYPE_CHECKING:
    from classlens.config import Config
    from classlens.config.config import ArchitectureInfo

HERE = PACKAGE / "models"
FOLDER = CACHE / "architectures"
MAKERS = (
    "describe.py", "build.py", "facts.py", "needs.py", "inputs.py", "patch.py", "pooling.py", "parallel.py",
    "saved.py", "linear.py", "checkpoint.py",
)  # fmt: skip
"""Modules that facts follow from."""
Request = tuple[str, Mapping[str, Any]] | tuple[str, Mapping[str, Any], Any]
MOST_SECONDS = 120
"""For each architecture, with the import of timm, which may come from a slow disk."""


def model_options(config: Config, model: str) -> dict[str, Any]:
    """Return the keyword arguments that a model is built with.

    The head has as many classes as the user's own head, else as the data set, unless the user says otherwise or timm's
    own weights bring a head.
    """
    entry = config.models[config.original(model)]
    options, score = dict(entry["options"]), entry["one_output"] == SCORE
    if entry["head"]:
        from classlens.models.head import head_shape  # which looks at its numbers, by numpy

        options["num_classes"] = head_shape(entry["head"])[0]
    elif entry["texts"]:
        options["num_classes"] = len(entry["texts"]["texts"])
    elif entry["weights"] != "pretrained":
        options.setdefault("num_classes", 1 if score else config.classes(entry["dataset"]))
    return {**options, "one_output": SCORE} if score else options


def built_as(config: Config, model: str) -> tuple[str, dict[str, Any]]:
    """Return the architecture and options that jobs build a model from, those of a saved model in its place.

    Args:
        config: with the facts about architectures.
    """
    name, options = config.architecture(model).get("built_as") or (
        config.models[model]["architecture"],
        model_options(config, model),
    )
    return name, options


def with_architectures(config: Config) -> Config:
    """Return the config with the facts about every model's architecture, and check that the rest of it fits them.

    A model with one output counts as one with two classes, as its canonical weights have it, unless that is a score.

    What neither comes with the project nor lies in the working directory is found in one subprocess, because importing
    timm takes seconds.

    Raises:
        InputError: naming every model that timm does not know, that is not supported, or whose transform or head does
            not fit it.
    """
    requests = {name: request_of(config, name) for name in config.models}
    makers = [*(HERE / name for name in MAKERS), *sorted((PACKAGE / "sources").glob("*.py"))]
    maker = [*map(digest_file, makers), _version("timm"), _version("torch")]
    files = {name: FOLDER / f"{digest_json(_identity(request, maker))}.json" for name, request in requests.items()}
    shipped = _shipped()
    known = {
        file: facts
        for name, file in files.items()
        if (facts := shipped.get(digest_json(requests[name])) or _kept(file))
    }
    missing = {file: requests[name] for name, file in files.items() if file not in known}
    problems = []
    for (file, _), found in zip(missing.items(), _describe(list(missing.values())), strict=True):
        if "error" in found:
            # A random twin shares its model's architecture, and its model's fault.
            culprit = next(name for name, other in files.items() if other == file)
            problems.append(f"config: models.{culprit}: {found['error']}")
        else:
            if not is_saved(missing[file][0]) or config_file(missing[file][0]):
                write_atomically(file, json.dumps(found))
            known[file] = found
    architectures: dict[str, Any] = {name: known[file] for name, file in files.items() if file in known}
    for name, facts in architectures.items():
        count, is_score = facts["num_classes"], config.models[name]["one_output"] == SCORE
        as_classes = {"num_classes": count if is_score else max(2, count), "one_output": count == 1 and not is_score}
        architectures[name] = facts | as_classes
    complete = replace(config, architectures=architectures)
    problems += [problem for name in architectures for problem in _misfits(complete, name)]
    if problems:
        raise InputError("\n".join(problems))
    return complete


def request_of(config: Config, model: str) -> Request:
    """Return what is asked of timm; also for which size, where a transform says it and options do not."""
    entry = config.models[config.original(model)]
    asked = (entry["architecture"], model_options(config, model))
    told = entry["transform"] != "timm" and "img_size" not in entry["options"]
    return (*asked, entry["transform"]["size"]) if told else asked


def _identity(request: Request, maker: list[str | None]) -> list[Any]:
    """Return what facts follow from: of a saved model also the content of its description, of a source its files."""
    if place.is_source(request[0]):
        files = [path for name in place.files_of(request[0]) if (path := Path(name)).is_file()]
        told = [[str(one), one.stat().st_size, one.stat().st_mtime_ns] for one in files]
        descriptions = [digest_file(one) for one in files if one.name in place.DESCRIPTIONS]
        libraries = [_version(name) for name in ("torchvision", "open_clip_torch")]
        return [*request, maker, told, descriptions, libraries]
    if not is_saved(request[0]):
        return [*request, maker]
    file = config_file(request[0])
    return [*request, maker, None if file is None else digest_file(file)]


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _shipped() -> dict[str, Any]:
    """Return the facts that come with the project, by digest of the request; none where timm has another version."""
    shipped = json.loads(ARCHITECTURES.read_text())
    return shipped["facts"] if _version("timm") in (None, shipped["timm"]) else {}


def _kept(file: Path) -> Any:
    """Return the facts that a file keeps, None where there are none or it is damaged."""
    try:
        facts = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    is_whole = isinstance(facts, dict) and facts.keys() >= {"channels", "head_width", "patch", "transform", "lacks"}
    return facts if is_whole else None


def _describe(requests: list[Request]) -> list[dict[str, Any]]:
    if not requests:
        return []
    named = ", ".join(sorted({architecture for architecture, *_ in requests}))
    lacking = [library for library in ("torch", "timm") if _version(library) is None]
    if lacking:
        raise InputError(
            f"the depth and width of {named} are asked from timm, but the environment of {sys.executable} lacks "
            f"{' and '.join(lacking)}; install them there (pip install {' '.join(lacking)}), or run Snakemake in the "
            f"environment of classlens"
        )
    try:
        run = subprocess.run(
            [sys.executable, "-m", "classlens.sources.describe", str(os.getpid())],
            input=json.dumps(requests),
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{PACKAGE.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
            check=False,
            timeout=MOST_SECONDS * len(requests),
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"timm did not describe {named} within {error.timeout:.0f} seconds; look for a number that is too large in "
            f"options"
        ) from None
    if run.returncode:
        raise InputError(f"timm could not describe the models of the config:\n{run.stderr.strip()}")
    answers: list[dict[str, Any]] = json.loads(run.stdout)
    return answers


def _misfits(config: Config, model: str) -> list[str]:
    """Return in what a model's transform and head do not fit its architecture."""
    if config.original(model) != model:
        return []
    entry, facts, transform = config.models[model], config.architecture(model), config.transform(model)
    name, dataset = place.named(entry["architecture"]), f"datasets.{entry['dataset']}"
    found: list[str] = []
    if config.class_indices(entry["dataset"]):
        own = config.trained(model) and "num_classes" not in entry["options"]
        if own or facts["num_classes"] not in (0, IMAGENET_CLASSES):
            found.append(
                f": {dataset} has ImageNet's class indices, since other models that look at it know its 1,000 classes, "
                f"but {model} has classes of its own; give it a data set of its own (with the same root), or list the "
                f"order of classes in classes.txt"
            )
    if isinstance(entry["weights"], str) and Path(entry["weights"]).is_dir():
        found.append(f".weights: {Path(entry['weights'])} {folder(Path(entry['weights']))}")
    size, expected = sides(transform["size"]), sides(facts["image_size"])
    if size != expected:
        found.append(
            f".transform.size is {simple(size)}, but {name} takes {simple(expected)} pixels; set options.img_size or "
            f"transform.size"
        )
    given = config.dataset(model)["channels"]
    if facts["channels"] not in ((given,) if given else (1, 3)):
        found.append(
            f": {name} takes images of {facts['channels']} channels, but those of {dataset} have "
            f"{given or 'three, or one (grey)'}; give it .npy or TIFF images and the data set's key channels, or "
            f"correct options.in_chans"
        )
    if given and "source" in facts:
        found.append(
            f": {name} is compared with its library on pictures, and {dataset} has images of {given} channels; give it "
            f"as timm's architecture and weights"
        )
    found += [
        f".transform.{key} has {len(transform[key])} numbers, but images of {name} have {facts['channels']} channels; "
        f"give one number per channel"
        for key in ("mean", "std")
        if len(transform[key]) != facts["channels"]
    ]
    return [f"config: models.{model}{misfit}" for misfit in (*found, *_misfits_of_head(entry, facts, name))]


def _misfits_of_head(entry: Mapping[str, Any], facts: ArchitectureInfo, name: str) -> Iterator[str]:
    if not entry["head"]:
        is_wide, wanted = entry["options"].get("global_pool") == CLS_MEAN, entry["options"].get("num_classes")
        is_other = wanted is not None and wanted != facts["published_classes"]
        if entry["weights"] == "pretrained" and (is_wide or is_other):
            from classlens.models.head import NO_WIDE_HEAD, not_brought  # which imports numpy

            yield f": {NO_WIDE_HEAD if is_wide else not_brought(wanted, facts['published_classes'])}"
    elif facts["distilled"]:
        yield ".head: a distilled model has two heads of its own; remove the key"
    else:
        from classlens.models.head import head_shape

        if (shape := head_shape(entry["head"]))[1] != facts["head_width"]:
            yield (
                f".head: {entry['head']} has the weight {shape}, but a head of the model reads {facts['head_width']} "
                f"numbers; make the head for {name}"
            )
