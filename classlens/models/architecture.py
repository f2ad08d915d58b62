"""Facts about architectures, kept on disk so that reading the Snakefile imports neither torch nor timm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classlens.cache import CACHE
from classlens.digest import digest_file, digest_json, write_atomically
from classlens.errors import InputError
from classlens.models.head import head_shape

if TYPE_CHECKING:
    from classlens.config import Config

HERE = Path(__file__).resolve().parent
PACKAGE_ROOT = HERE.parents[1]
FOLDER = CACHE / "architectures"


def model_options(config: Config, model: str) -> dict[str, Any]:
    """Return the keyword arguments that a model is built with.

    The head has as many classes as the user's own head, else as the data set, unless the user says otherwise or timm's
    own weights bring a head.
    """
    entry = config.models[model]
    options = dict(entry["options"])
    if entry["head"]:
        options["num_classes"] = head_shape(entry["head"])[0]
    elif entry["weights"] != "pretrained":
        options.setdefault("num_classes", config.classes(entry["dataset"]))
    return options


def with_architectures(config: Config) -> Config:
    """Return the config with the facts about every model's architecture, and check that the rest of it fits them.

    What the working directory does not hold yet is found in one subprocess, because importing timm takes seconds.

    Raises:
        InputError: naming every model that timm does not know, that is not supported, or whose transform or head does
            not fit it.
    """
    requests = {name: (entry["architecture"], model_options(config, name)) for name, entry in config.models.items()}
    maker = [*(digest_file(HERE / name) for name in ("describe.py", "build.py")), version("timm"), version("torch")]
    files = {name: FOLDER / f"{digest_json([*request, maker])}.json" for name, request in requests.items()}
    missing = {file: requests[name] for name, file in files.items() if not file.exists()}
    problems = []
    for (file, _), found in zip(missing.items(), _describe(list(missing.values())), strict=True):
        if "error" in found:
            # A random twin shares its model's architecture, and its model's fault.
            culprit = next(name for name, other in files.items() if other == file)
            problems.append(f"config: models.{culprit}: {found['error']}")
        else:
            write_atomically(file, json.dumps(found))
    architectures = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    complete = replace(config, architectures=architectures)
    problems += [problem for name in architectures for problem in _misfits(complete, name)]
    if problems:
        raise InputError("\n".join(problems))
    return complete


def _describe(requests: list[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    if not requests:
        return []
    run = subprocess.run(
        [sys.executable, "-m", "classlens.models.describe"],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{PACKAGE_ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        check=False,
    )
    if run.returncode:
        raise InputError(f"timm could not describe the models of the config:\n{run.stderr.strip()}")
    answers: list[dict[str, Any]] = json.loads(run.stdout)
    return answers


def _misfits(config: Config, model: str) -> list[str]:
    """Return in what a model's transform and head do not fit its architecture."""
    entry, facts = config.models[model], config.architecture(model)
    found = []
    size, expected = config.transform(model)["size"], facts["image_size"]
    if size != expected:
        found.append(
            f"config: models.{model}.transform.size is {size}, but {entry['architecture']} takes {expected} pixels; "
            f"set options.img_size or transform.size"
        )
    if entry["head"] and facts["distilled"]:
        found.append(f"config: models.{model}.head: a distilled model has two heads of its own; remove the key")
    elif entry["head"] and (shape := head_shape(entry["head"]))[1] != facts["width"]:
        found.append(
            f"config: models.{model}.head: {entry['head']} has the weight {shape}, but the model is {facts['width']} "
            f"wide; make the head for {entry['architecture']}"
        )
    return found
