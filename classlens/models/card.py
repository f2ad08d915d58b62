"""Cards of architectures, kept on disk so that reading the Snakefile imports neither torch nor timm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from classlens.config import Config
from classlens.data.select import class_count
from classlens.errors import InputError
from classlens.models.head import head_shape
from classlens.store.code import fingerprint
from classlens.store.digest import digest_json, write_atomically
from classlens.store.key import library_versions

PACKAGE_ROOT = Path(__file__).resolve().parents[2]


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
        options.setdefault("num_classes", class_count(config.dataset(model), entry["dataset"]))
    return options


def with_cards(config: Config, store: Path) -> Config:
    """Return the config with a card for every model, and check that the models fit the rest of it.

    Cards that the store does not hold are made in one subprocess, because importing timm takes seconds.

    Raises:
        InputError: a model is unknown to timm, is not supported, or its transform makes inputs of another size.
    """
    requests = {name: (entry["architecture"], model_options(config, name)) for name, entry in config.models.items()}
    code = fingerprint(PACKAGE_ROOT / "classlens/models/describe.py", PACKAGE_ROOT)
    maker = [code.digest, library_versions(code.libraries)]
    files = {name: store / "cards" / f"{digest_json([*request, maker])}.json" for name, request in requests.items()}
    missing = {file: requests[name] for name, file in files.items() if not file.exists()}
    for (file, _), card in zip(missing.items(), _describe(list(missing.values())), strict=True):
        if "error" in card:
            culprit = next(name for name, other in files.items() if other == file)
            raise InputError(f"config: models.{culprit}: {card['error']}")
        write_atomically(file, json.dumps(card))
    cards = {name: json.loads(file.read_text()) for name, file in files.items()}
    complete = replace(config, cards=cards)
    for name in complete.models:
        _check_size(complete, name)
        _check_head(complete, name)
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


def _check_size(config: Config, model: str) -> None:
    size, expected = config.transform(model)["size"], config.card(model)["image_size"]
    if size != expected:
        raise InputError(
            f"config: models.{model}.transform.size is {size}, but {config.models[model]['architecture']} takes "
            f"{expected} pixels; set options.img_size or transform.size"
        )


def _check_head(config: Config, model: str) -> None:
    head, card = config.models[model]["head"], config.card(model)
    if not head:
        return
    if card["distilled"]:
        raise InputError(f"config: models.{model}.head: a distilled model has two heads of its own; remove the key")
    shape = head_shape(head)
    if shape[1] != card["width"]:
        raise InputError(
            f"config: models.{model}.head: {head} has the weight {shape}, but the model is {card['width']} wide; "
            f"make the head for {config.models[model]['architecture']}"
        )
