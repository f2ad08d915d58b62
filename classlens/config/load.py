"""Read a config: check it against the schema, fill in the defaults, add the random twins."""

from __future__ import annotations

import copy
import difflib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from classlens import yaml12
from classlens.config.config import REPAIRED_SUFFIX, Config, twin_name
from classlens.config.read import EXTENDS, require_bounded
from classlens.config.series import with_points
from classlens.config.wanted import as_wanted
from classlens.data.kinds import ARRANGED_BY, KINDS, kind_of
from classlens.errors import InputError
from classlens.models.facts import SCORE, SOURCE, TORCHVISION
from classlens.models.saved import local_folder
from classlens.shipped import COMMON, COMMON_WORDS, SHIPPED, shipped_weights
from classlens.terms import BRANCHES, SITES

MOST_SHOWN = 100
"""Characters of a wrong value in a message."""
SCHEMA_FILE = Path(__file__).with_name("schema.yaml")
IN_WORDS = {
    "object": "a section of keys",
    "array": "a list",
    "string": "text",
    "null": "null",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a finite number",
}
Validator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "number", lambda known, value: Draft202012Validator.TYPE_CHECKER.is_type(value, "number") and _is_finite(value)
    ),
)


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def schema(**names: Iterable[str]) -> dict[str, Any]:
    """Return the JSON schema of the config.

    Args:
        names: values of `enum: NAME` in the schema file that are declared elsewhere, beside the kinds of data sets,
            sites and branches.
    """
    choices: dict[str, Iterable[str]] = {"kinds": KINDS, "sites": SITES, "branches": BRANCHES, **names}
    loaded: dict[str, Any] = as_wanted({}, yaml12.load(SCHEMA_FILE.read_text(), SCHEMA_FILE.name))
    _fill_enums(loaded, {name: list(values) for name, values in choices.items()})
    return loaded


def _fill_enums(part: Any, choices: Mapping[str, list[str]]) -> None:
    """Put what is declared elsewhere in the place of its name."""
    if isinstance(part, dict):
        if isinstance(part.get("enum"), str):
            part["enum"] = choices[part["enum"]]
        for value in part.values():
            _fill_enums(value, choices)


def load_config(raw: Mapping[str, Any], schema: Mapping[str, Any]) -> Config:
    """Check a config as the user wrote it and complete it.

    Args:
        raw: the parsed YAML file.
        schema: of the config, with all names.

    Raises:
        InputError: naming every key that is unknown, missing or has a wrong value.
    """
    raw = as_meant(raw, schema)
    if EXTENDS in raw:
        raise InputError(
            f"config: {EXTENDS}: only a config file can start from another one, not a section of one, a template, or "
            f"what --config says; name a file with --configfile"
        )
    errors = sorted(Validator(schema).iter_errors(raw), key=lambda e: list(map(str, e.path)))
    if errors:
        where: dict[str, list[str]] = {}
        for error in errors:
            place, fault = _explain(error)
            where.setdefault(fault, []).append(place)
        raise InputError("config: " + "; ".join(f"{', '.join(places)}: {fault}" for fault, places in where.items()))
    full = _with_defaults(schema, raw)
    for name, dataset in full["datasets"].items():
        _check_dataset(name, dataset)
    full["models"] = with_points(full["models"])
    for name, model in full["models"].items():
        _check_model(name, model, full["datasets"])
    _check_vocabulary(full["words"], full["models"])
    config = Config(models=_with_twins(full.pop("models"), full["seed"]), **full)
    config = replace(config, models=_with_repaired(config))
    _check_differences(config.differences, config.models)
    return config


def as_meant(raw: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with words and numbers in the types that the schema wants; a copy.

    Raises:
        InputError: aliases make it endless.
    """
    require_bounded(raw)
    meant: dict[str, Any] = as_wanted(schema, raw)
    return meant


def _with_defaults(part: Mapping[str, Any], value: Any) -> Any:
    """Return `value` with the defaults that the schema part names, at every depth, and `~` in paths expanded."""
    if isinstance(value, str) and part.get("format") == "path":
        return os.path.expanduser(value)
    if not isinstance(value, dict):
        return value
    known = part.get("properties", {})
    for key, sub in known.items():
        if key not in value and "default" in sub:
            value[key] = copy.deepcopy(sub["default"])
    other = part.get("additionalProperties")
    for key, item in value.items():
        sub = known.get(key, other)
        if isinstance(sub, Mapping):
            value[key] = _with_defaults(sub, item)
    return value


def _explain(error: ValidationError) -> tuple[str, str]:
    """Say which key is wrong and what would be right."""
    where = ".".join(str(step) for step in error.absolute_path) or "the config"
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))  # type: ignore[union-attr]
        unknown = [key for key in error.instance if key not in known]  # type: ignore[union-attr]
        return where, "; ".join(_unknown_key(str(key), known) for key in unknown)
    if "propertyNames" in error.absolute_schema_path:
        return where, f"the name {error.instance!r} cannot be used; take at most 100 letters, digits, - _ and ."
    if error.validator == "enum":
        close = difflib.get_close_matches(str(error.instance), map(str, error.validator_value), 1)  # type: ignore[arg-type]
        return where, f"{error.message}{f' (did you mean {close[0]}?)' if close else ''}"
    if error.validator == "type":
        return where, _wrong_type(error)
    return where, error.message


def _wrong_type(error: ValidationError) -> str:
    """Say which type a value is not of, and how what was written becomes one."""
    types = error.validator_value
    wanted = " or ".join(IN_WORDS[name] for name in ([types] if isinstance(types, str) else types))  # type: ignore[union-attr]
    if error.instance is None:
        return f"nothing is given; give {wanted}, or leave the key out"
    if "string" in types and not isinstance(error.instance, Mapping | list):  # type: ignore[operator]
        return f"{error.instance!r} is not text; put the word into quotes"
    return f"{str(error.instance)[:MOST_SHOWN]!r} is not of type {types!r}; give {wanted}"


def _unknown_key(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"unknown key {key!r}; " + (f"did you mean {close[0]}?" if close else f"known keys are {', '.join(known)}")


def _meant(name: str, known: Iterable[str], most: int) -> str:
    close = difflib.get_close_matches(name, known, most) or known
    return f"{name!r}; did you mean {' or '.join(close)}?"


def _check_dataset(name: str, dataset: dict[str, Any]) -> None:
    kind, called = kind_of(dataset), f"kind {dataset['kind']}"
    if isinstance(dataset["groups"], str):
        dataset["groups"] = {"table": dataset["groups"], "image": "image", "attributes": None}
    groups, (low, high) = dataset["groups"] or {}, dataset["value_range"] or (0, 1)
    split, evaluation, training = ((dataset["labels"] or {}).get(key) for key in ("split", "evaluation", "training"))
    faults = {
        f"root is missing; a data set of {called} needs its folder": kind.needs_root and not dataset["root"],
        f"value_range: {called} has a range of its own": dataset["value_range"] and not kind.decodes,
        f"value_range: {low} is not below {high}; give [low, high], black and white": not low < high,
        f"channels: {called} holds pictures of three channels; save images as .npy arrays in a data set of kind "
        f"image_folder": dataset["channels"] and not kind.takes_channels,
        **{
            f"{key}: {called} is arranged otherwise; remove it": dataset[key] is not None
            for key in ARRANGED_BY
            if key not in kind.arranged_by
        },
        "groups: name the table of attributes; packed data sets may hold these themselves, and then `attributes` names "
        "them": groups and not groups["table"] and not (kind.packed and groups["attributes"]),
        "labels: give `split` and what it has (`evaluation`), or neither": bool(split) != bool(evaluation or training),
        "labels: `evaluation` must say other images than `training` does": split and evaluation in (None, training),
        f"masks: {called} takes no masks of the user's own": dataset["masks"] and not kind.takes_masks,
    }
    for fault, is_there in faults.items():
        if is_there:
            raise InputError(f"config: datasets.{name}.{fault}")


def _check_model(name: str, model: dict[str, Any], datasets: Mapping[str, Any]) -> None:
    if model["dataset"] not in datasets:
        raise InputError(f"config: models.{name}.dataset: there is no data set {_meant(model['dataset'], datasets, 1)}")
    if isinstance(model["transform"], str) and model["transform"] != "timm":
        raise InputError(f"config: models.{name}.transform: give `timm` or a table with size, resize, ...")
    if model["head"] and (model["weights"] == "random" or isinstance(model["weights"], dict)):
        made = "random" if model["weights"] == "random" else "trained"
        raise InputError(f"config: models.{name}.head: {made} weights bring a head of their own; remove the key")
    model["texts"] = None
    if isinstance(model["head"], dict):
        model |= {"texts": _texts_of(f"config: models.{name}.head", model), "head": None}
    shipped = isinstance(model["weights"], str) and model["weights"].startswith(SHIPPED)
    if model["one_output"] == SCORE and (model["head"] or isinstance(model["weights"], dict)):
        raise InputError(
            f"config: models.{name}.one_output: {'a head of its own' if model['head'] else 'training'} is about "
            f"classes, and a score has none; give weights that have its row in them, or take binary"
        )
    if model["architecture"] is None:
        if not isinstance(model["weights"], str) or model["weights"] in ("random", "pretrained") or shipped:
            raise InputError(
                f"config: models.{name}.architecture is missing: give a name of timm's; it may be left out where "
                f"`weights` says which model it is (docs/models.md)"
            )
        if other := sorted(model["options"].keys() - {"img_size"}):
            raise InputError(
                f"config: models.{name}.options.{other[0]}: {model['weights']} says it itself; remove the key"
            )
        model |= {"architecture": SOURCE + model["weights"], "weights": "pretrained"}
    if shipped:
        try:
            model["weights"] = str(shipped_weights(model["weights"]))
        except InputError as error:
            raise InputError(f"config: models.{name}.weights: {error}") from None
    is_file = isinstance(model["weights"], str) and model["weights"] not in ("random", "pretrained")
    if model["weights_key"] is not None and not (is_file or local_folder(model["architecture"])):
        raise InputError(f"config: models.{name}.weights_key: `weights` is no file; remove the key")
    model.setdefault("label", name)


def _check_vocabulary(words: dict[str, Any], models: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that a vocabulary is there, and that each model whose heads it is for may have a text tower."""
    if (given := words["vocabulary"]) is None:
        return
    if given != COMMON and not Path(given).is_file():
        raise InputError(f"config: words.vocabulary: there is no file {given!r}; give `{COMMON}`, or a file of words")
    words["vocabulary"] = str(COMMON_WORDS) if given == COMMON else given
    for name, model in models.items():
        asked = model["analyses"] is None or "head_words" in model["analyses"]
        if asked and (
            not model["architecture"].startswith(SOURCE) or model["architecture"].startswith(SOURCE + TORCHVISION)
        ):
            raise InputError(
                f"config: words.vocabulary: {name} has no text tower; take null, give it weights of CLIP or SigLIP "
                f"(docs/models.md), or leave head_words out of models.{name}.analyses"
            )


def _check_differences(pairs: list[list[str]], models: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that the models of each pair are there and look at the same images, and that pairs have their own names."""
    for pair in pairs:
        for name in pair:
            if name not in models:
                raise InputError(f"config: differences: there is no model {_meant(name, models, 2)}")
        first, second = (models[name]["dataset"] for name in pair)
        if first != second:
            raise InputError(
                f"config: differences: {pair[0]} looks at {first} and {pair[1]} at {second}; differences are image by "
                f"image, so give both the same data set"
            )
    names = ["_".join(pair) for pair in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"config: differences: two pairs are called {twice.pop()}; take one out, or rename a model")


def _texts_of(where: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return texts as classes, those of a file in its place."""
    if model["architecture"] is not None:
        raise InputError(
            f"{where}: texts need weights that say which model they are of, e.g. weights: open_clip:ViT-B-16/openai, "
            f"without `architecture` (docs/models.md)"
        )
    texts = model["head"]["texts"]
    if isinstance(texts, str):
        try:
            lines = Path(texts).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{where}.texts: {texts}: {error}; give a list, or a text file with one in each line"
            ) from None
        texts = [line.strip() for line in lines if line.strip()]
        if len(set(texts)) < max(2, len(texts)):
            raise InputError(f"{where}.texts: {texts} has fewer than two texts, or one twice")
    return {**model["head"], "texts": texts, "tower": model["head"]["tower"] or model["weights"]}


def _with_repaired(config: Config) -> dict[str, dict[str, Any]]:
    """Return the models with what `repair` makes of those that run it after them, for pages and differences alone."""
    result: dict[str, dict[str, Any]] = {}
    for name, model in config.models.items():
        result[name] = model
        is_asked = model["analyses"] is None or "repair" in model["analyses"]
        if is_asked and not config.is_derived(name) and config.spurious(model["dataset"]) is not None:
            if (repaired := f"{name}{REPAIRED_SUFFIX}") in config.models:
                raise InputError(f"config: models.{repaired}: the repaired {name} is called so; rename the model")
            weights, label = f"results/{name}/repaired.safetensors", f"{model['label']} (repaired)"
            result[repaired] = _beside(model, label, weights=weights, repaired=name, head=None, analyses=[])
    return result


def _with_twins(models: Mapping[str, dict[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """Return the models with each one's random twin after it.

    A twin that the config spells out itself (NAME-random) stays as it is. Seeds differ, so that the twin of a model
    with random weights has other weights than the model.
    """
    result: dict[str, dict[str, Any]] = {}
    for name, model in models.items():
        result[name] = {**model, "seed": seed}
        series = model.get("series", {"name": name, "label": model["label"]})
        twin = twin_name(series["name"])
        if model["random_twin"] and twin not in models:
            result[twin] = _beside(model, f"{series['label']} (random)", weights="random", seed=seed + 1)
    return result


def _beside(model: Mapping[str, Any], label: str, **changes: Any) -> dict[str, Any]:
    """Return a model that is beside another one: of no series, and without a twin of its own."""
    kept = {key: value for key, value in model.items() if key != "series"}
    return {**kept, "label": label, "random_twin": False, **changes}
