"""Parts of the config that jobs see, by the names that declarations call them by: `settings_of` finds them.

A function here is one that computes something, of the config and the job's wildcards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from classlens.catalog import applicable, planning
from classlens.catalog.analyses import ANALYSES, STACKED
from classlens.catalog.job import MASKS, Wildcards
from classlens.catalog.kinds import require_attention_kind
from classlens.catalog.methods import METHODS, require_method
from classlens.catalog.reading import pooling_notes, prefix_names
from classlens.config.architecture import built_as
from classlens.config.config import Config
from classlens.data.geometry import Geometry, sides
from classlens.data.kinds import KINDS, arrangement_of
from classlens.errors import InputError
from classlens.models.facts import SEVERAL_CLASSES
from classlens.models.saved import is_saved, local_folder
from classlens.shipped import WEIGHTS
from classlens.sources.place import named, path_of
from classlens.terms import chance

Slice = dict[str, Any]


OF_ALL: dict[str, Callable[[Config], Slice]] = {
    # Chance level of every model's identifiability.
    "chance_levels": lambda config: {
        "chances": {name: chance(config.architecture(name)["num_classes"]) for name in config.models}
    },
    # Which models are random twins.
    "twins": lambda config: {"twins": [name for name in config.models if config.is_twin(name)]},
    # The random twin of every model that has one.
    "twin_of": lambda config: {"twin_of": {name: twin for name in config.models if (twin := config.twin(name))}},
    # What the config and architectures say of the overview's models.
    "overview": lambda config: {"models": [_facts(config, name) for name in planning.overviewed_models(config)]},
    # Whether heat maps show evidence against a class, too.
    "heatmap_signed": lambda config: {"signed": METHODS[config.explanations["heatmap_method"]].signed},
    # What figures call explanations; their order decides their looks.
    "method_labels": lambda _config: {"method_labels": {name: method.label for name, method in METHODS.items()}},
}
"""What follows from the config alone."""
OF_MODEL: dict[str, Callable[[Config, str], Slice]] = {
    # What a figure calls it.
    "label": lambda config, model: {"label": config.models[model]["label"]},
    # Chance level of its identifiability.
    "chance_level": lambda config, model: {"chance": chance(config.architecture(model)["num_classes"])},
    # Rows and columns of image tokens.
    "grid": lambda config, model: {"grid": config.architecture(model)["grid"]},
    # P.
    "image_tokens": lambda config, model: {"tokens": prod(config.architecture(model)["grid"])},
    # How masks label tokens, and whether they tell class and context apart.
    "labelling": lambda config, model: {"mode": config.dataset(model)["token_labels"]},
    "has_labels": lambda config, model: {"has_labels": applicable.has(config, model, MASKS)},
    # The attribute that it should not look at.
    "spurious": lambda config, model: {"attribute": config.spurious(config.models[model]["dataset"])},
    # The epochs whose weights training keeps.
    "kept": lambda config, model: {"kept": points(config, {"model": model})["points"]},
    # Its attention perturbations and explanations, and those made of it with reset blocks, in the order of their files.
    "attention_kinds": lambda config, model: {"kinds": applicable.attention_kinds(config, model)},
    "methods": lambda config, model: {"methods": applicable.methods(config, model)},
    "randomised_methods": lambda config, model: {"randomised_methods": applicable.randomised_methods(config, model)},
    # The function of the explanation that heat maps show.
    "explain_heatmap": lambda config, model: _explain(config, model, config.explanations["heatmap_method"]),
}
"""What follows from the config and a model."""


def settings_of(names: Iterable[str], config: Config, wildcards: Wildcards) -> Slice:
    """Return the keyword arguments that a job gets of the config.

    Args:
        names: of functions of this module, in `OF_ALL` and `OF_MODEL` too; of keys ("seed", "statistics.correction", by
            their last part), sections ("tuned_lens", all of its keys) and wildcards ("wildcards.kind"); or `threads`,
            which the scheduler gives.

    Raises:
        InputError: the job does not apply to the model.
    """
    found: Slice = {}
    for name in names:
        if name in OF_ALL:
            found |= OF_ALL[name](config)
        elif name in OF_MODEL:
            found |= OF_MODEL[name](config, wildcards["model"])
        else:
            found |= globals().get(name, partial(_picked, name))(config, wildcards)
    return found


def _picked(name: str, config: Config, wildcards: Wildcards) -> Slice:
    section, _, key = name.partition(".")
    if section == "threads":
        return {"threads": None}
    if section == "wildcards":
        return {key: wildcards[key]}
    values = getattr(config, section)
    if key:
        return {key: values[key]}
    return dict(values) if isinstance(values, dict) else {section: values}


SELECTION = ("per_class", "train_per_class", "exclude_classes", "too_few", "class_indices")
ORIGINS = ("pretrained", "random")
HEATMAP_IMAGES = 4


# Data sets


def selection(config: Config, wildcards: Wildcards) -> Slice:
    """Which images are chosen, and under which names: these are no part of the raw files that a job's key holds."""
    dataset = config.selection(wildcards["dataset"])
    return {
        "selection": {key: dataset[key] for key in SELECTION if key in dataset},
        "chosen": config.chosen(wildcards["dataset"]),
    }


def _dataset_name(config: Config, wildcards: Wildcards) -> str:
    """Return the data set of a job, or of its model."""
    name: str = config.models[wildcards["model"]]["dataset"] if "model" in wildcards else wildcards["dataset"]
    return name


def raw_folders(config: Config, wildcards: Wildcards) -> Slice:
    """Where raw data lies and what messages call it, which shapes no result."""
    name = _dataset_name(config, wildcards)
    dataset = config.datasets[name]
    arrangement = {"arrangement": arranged} if (arranged := arrangement_of(dataset)) else {}
    return {"root": dataset["root"], "mask_root": dataset["masks"], "name": name, **arrangement}


def attributes(config: Config, wildcards: Wildcards) -> Slice:
    """What images carry beside their class, and where a table names them."""
    name = wildcards["dataset"]
    groups = config.datasets[name]["groups"]
    return {"attributes": config.attributes(name), "image": groups["image"] if groups else "image"}


def decoding(config: Config, wildcards: Wildcards) -> Slice:
    """Which stored values are black and white, where types do not say it, and how many channels there are."""
    value_range = config.datasets[wildcards["dataset"]]["value_range"]
    return channels(config, wildcards) | ({} if value_range is None else {"value_range": value_range})


def channels(config: Config, wildcards: Wildcards) -> Slice:
    """How many channels images have that are no pictures."""
    given = config.datasets[wildcards["dataset"]]["channels"]
    return {"channels": given} if given else {}


def geometry(_config: Config, wildcards: Wildcards) -> Slice:
    """How images become squares."""
    return {"geometry": asdict(Geometry.from_name(wildcards["geometry"]))}


def part(config: Config, wildcards: Wildcards) -> Slice:
    """Which images of a packed data set a job decodes."""
    return {"part": list(config.part_bounds(wildcards["dataset"], wildcards["split"], int(wildcards["part"])))}


def source(config: Config, wildcards: Wildcards) -> dict[str, str]:
    """The class of the data set's kind."""
    return {"source": KINDS[config.datasets[_dataset_name(config, wildcards)]["kind"]]}


# Models


def architecture(config: Config, wildcards: Wildcards) -> Slice:
    """What a model is built from."""
    name, options = built_as(config, wildcards["model"])
    return {"architecture": name, "options": options}


def normalisation(config: Config, wildcards: Wildcards) -> Slice:
    """The part of a model's transform that the images' stored pixels do not have in them."""
    transform = config.transform(wildcards["model"])
    return {"mean": transform["mean"], "std": transform["std"]}


def network(config: Config, wildcards: Wildcards) -> Slice:
    """What a forward pass follows from."""
    precision = {"precision": config.extraction["precision"]}
    return {**architecture(config, wildcards), **normalisation(config, wildcards), **precision}


def origin(config: Config, wildcards: Wildcards) -> Slice:
    """Where weights come from; only fresh ones depend on a seed, and only files may hold several tables."""
    entry = config.models[wildcards["model"]]
    found, name = entry["weights"] if entry["weights"] in ORIGINS else "file", entry["architecture"]
    if found == "pretrained" and is_saved(name):
        found = "file" if local_folder(name) else name
    more = {"random": {"seed": entry["seed"]}, "file": {"key": entry["weights_key"]}}.get(found, {})
    return {"origin": found, **{key: value for key, value in more.items() if value is not None}}


def source_place(config: Config, wildcards: Wildcards) -> Slice:
    """Where a model of another library lies: its files' contents are part of the key, so their place is not."""
    entry = config.models[wildcards["model"]]
    tower = {"tower": entry["texts"]["tower"]} if entry["texts"] else {}
    return {"brought": named(entry["architecture"]), **tower}


def texts(config: Config, wildcards: Wildcards) -> Slice:
    """Texts as classes, their templates, and what a library or a hub calls their tower; nothing of other models."""
    given = config.models[wildcards["model"]]["texts"]
    if not given:
        return {}
    tower = {} if path_of(given["tower"]) else {"tower": given["tower"]}
    return {"texts": {**{key: given[key] for key in ("texts", "templates")}, **tower}}


def vocabulary(config: Config, wildcards: Wildcards) -> Slice:
    """How words of a vocabulary are embedded, and by which models of a library or a hub."""
    entry = config.models[wildcards["model"]]
    names = {named(entry["architecture"]), *([entry["texts"]["tower"]] if entry["texts"] else [])}
    return {
        "templates": config.words["templates"],
        "published": sorted(name for name in names if path_of(name) is None),
    }


def source_name(config: Config, wildcards: Wildcards) -> Slice:
    """What a library or a hub calls a model, how it takes pictures, and what one output says."""
    entry = config.models[wildcards["model"]]
    name = entry["architecture"]
    return {
        "published": None if path_of(name) else named(name),
        "transform": config.transform(wildcards["model"]),
        "one_output": entry["one_output"],
    }


def _facts(config: Config, model: str) -> Slice:
    """What an overview says of a model: what it is, what it looks at, and how large it is."""
    entry, architecture = config.models[model], config.architecture(model)
    weights = "trained" if config.trained(model) else entry["weights"]
    if "source" in architecture and weights == "pretrained":
        weights = architecture["source"]["library"]
    elif weights not in ("trained", *ORIGINS):
        weights = "shipped" if Path(weights).parent == WEIGHTS else "file"
    prefix = architecture["num_prefix_tokens"]
    return {
        "model": model,
        "label": entry["label"],
        "architecture": architecture["source"]["kind"] if "source" in architecture else entry["architecture"],
        "weights": weights,
        "dataset": entry["dataset"],
        "model_classes": architecture["num_classes"],
        "blocks": architecture["depth"],
        "heads": architecture["heads"],
        "width": architecture["width"],
        "image_tokens": architecture["tokens"] - prefix,
        "prefix_tokens": prefix,
    }


def recipe(config: Config, wildcards: Wildcards) -> Slice:
    """All that training follows from beside the network."""
    entry = config.models[wildcards["model"]]
    return {**entry["weights"]["train"], "seed": entry["seed"]}


def shard(config: Config, wildcards: Wildcards) -> Slice:
    """First and last + 1 image of a shard; nothing where a job takes all images."""
    if "shard" not in wildcards:
        return {}
    start, stop = config.shard_bounds(wildcards["model"], int(wildcards["shard"]))
    return {"start": start, "stop": stop}


def training_shard(config: Config, wildcards: Wildcards) -> Slice:
    """First and last + 1 of a shard of training images."""
    start, stop = config.shard_bounds(wildcards["model"], int(wildcards["shard"]), "training")
    return {"start": start, "stop": stop}


# Statistics


def resampling(config: Config, _wildcards: Wildcards) -> Slice:
    """How intervals and tests resample images."""
    found = {key: config.statistics[key] for key in ("resamples", "confidence")}
    return {"resampling": {**found, "seed": config.seed}}


# Series and differences


def points(config: Config, wildcards: Wildcards) -> Slice:
    """The numbers of the points of a model's series, and what they count."""
    found = [config.models[point].get("series", {}) for point in config.points(wildcards["model"])]
    return {"points": [one.get("point") for one in found], "at": found[0].get("at")}


def series_labels(config: Config, _wildcards: Wildcards) -> Slice:
    """What figures call the series of a last point."""
    series = {name: entry["series"] for name, entry in config.models.items() if "series" in entry}
    return {"labels": {name: one["label"] for name, one in series.items() if one["is_last"]}}


def difference_drawing(config: Config, wildcards: Wildcards) -> Slice:
    """All that the figure of a difference is drawn by: what it calls the two models."""
    first, second = (config.models[model]["label"] for model in config.pairs()[wildcards["pair"]])
    return {"settings": {"first": first, "second": second}}


# Tables of all models


def stacked_models(config: Config, wildcards: Wildcards) -> Slice:
    """The models that a table puts side by side."""
    return {"models": planning.compared_models(config, STACKED[wildcards["comparison"]])}


def stacked_correction(config: Config, wildcards: Wildcards) -> Slice:
    """How the p-values of a table are corrected and from where on they count, if it has any."""
    names = ("statistics.correction", "statistics.confidence") if STACKED[wildcards["comparison"]].tested else ()
    return settings_of(names, config, wildcards)


def shown_models(config: Config, wildcards: Wildcards) -> Slice:
    """Names and labels of the models that a figure shows; random twins are shown beside theirs."""
    names = planning.compared_models(config, ANALYSES[wildcards["analysis"]])
    return {"models": [[name, config.models[name]["label"]] for name in names if not config.is_twin(name)]}


def drawing(config: Config, wildcards: Wildcards) -> Slice:
    """All that the figure of an analysis is drawn by besides data, apart from its files."""
    analysis = ANALYSES[wildcards["analysis"]]
    own = analysis.figure.settings if analysis.figure else ()
    names = ("label" if analysis.one_model else "shown_models", *own)
    return {"settings": settings_of(names, config, wildcards)}


# Memories, perturbations, ablation, explanations, probes


def attention_kind(config: Config, wildcards: Wildcards) -> Slice:
    """The kind of an attention perturbation.

    Raises:
        InputError: it does not apply to the model.
    """
    model, kind = wildcards["model"], wildcards["kind"]
    require_attention_kind(kind, model, has_class_token=config.architecture(model)["has_class_token"])
    return {"kind": kind}


def explain(config: Config, wildcards: Wildcards) -> dict[str, str]:
    """The function of an explanation.

    Raises:
        InputError: the explanation does not apply to the model.
    """
    return _explain(config, wildcards["model"], wildcards["method"])


def _explain(config: Config, model: str, method: str) -> dict[str, str]:
    require_method(method, model, config.architecture(model)["lacks"])
    return {"explain": METHODS[method].compute}


def method_settings(config: Config, wildcards: Wildcards) -> Slice:
    """What else the config says of an explanation; nothing where it has no settings."""
    found = {key: config.explanations[key] for key in METHODS[wildcards["method"]].settings}
    return {"method_settings": found} if found else {}


def removal_axis(config: Config, wildcards: Wildcards) -> Slice:
    """What removal curves show in place of accuracy: of a score, how far it moves."""
    scores = SEVERAL_CLASSES in config.architecture(wildcards["model"])["lacks"]
    return {"axis": "mean absolute change of the score"} if scores else {}


def token_grid(config: Config, wildcards: Wildcards) -> Slice:
    """Rows and columns of image tokens, and pixels of each."""
    architecture = config.architecture(wildcards["model"])
    return {"grid": architecture["grid"], "patch": architecture["patch"]}


def removal(config: Config, wildcards: Wildcards) -> Slice:
    """How many tokens are kept, and the seeds of random orders.

    Raises:
        InputError: the explanation does not apply to the model.
    """
    model, method = wildcards["model"], wildcards["method"]
    if method != "probe":
        require_method(method, model, config.architecture(model)["lacks"])
    seeds = [config.seed + number for number in range(config.faithfulness["random_seeds"])]
    return {"counts": applicable.removal_counts(config, model), "seeds": seeds if method == "random" else []}


def removal_seeds(config: Config, wildcards: Wildcards) -> Slice:
    """The seeds of random orders of pixels.

    Raises:
        InputError: the explanation does not apply to the model.
    """
    return {"seeds": removal(config, wildcards)["seeds"]}


def has_maps(_config: Config, wildcards: Wildcards) -> Slice:
    """Whether an explanation has maps by block and head."""
    return {"has_maps": METHODS[wildcards["method"]].has_maps}


def randomised_images(config: Config, wildcards: Wildcards) -> Slice:
    """Which images models with reset blocks explain: some, spread evenly over the data set."""
    count = config.images(config.models[wildcards["model"]]["dataset"])
    most = min(config.explanations["randomised_images"], count)
    return {"images": sorted({round(step * (count - 1) / max(1, most - 1)) for step in range(most)})}


def heatmap_images(config: Config, wildcards: Wildcards) -> Slice:
    """Which images and classes heat maps are made of."""
    chosen = config.explanations
    count = config.images(config.models[wildcards["model"]]["dataset"])
    spread = [round(step * (count - 1) / (HEATMAP_IMAGES - 1)) for step in range(HEATMAP_IMAGES)]
    return {"images": chosen["images"] or sorted(set(spread)), "second_class": chosen["second_class"]}


def block_and_head(config: Config, wildcards: Wildcards) -> Slice:
    """Of the single maps."""
    last = config.architecture(wildcards["model"])["depth"] - 1
    chosen = config.explanations
    return {"block": last if chosen["block"] is None else chosen["block"], "head": chosen["head"]}


def probed(config: Config, wildcards: Wildcards) -> Slice:
    """What the linear probes of a block read."""
    pairs = [[site, int(wildcards["block"])] for site in planning.probed_sites(config)]
    return {"probed": pairs, "tokens": config.probes["tokens"], "penalty": 1.0}


# Lens pages


def page(config: Config, wildcards: Wildcards) -> Slice:
    """Which images and explanations a lens page shows, and what it says of its model.

    Raises:
        InputError: the config says that pages show no images.
    """
    model, images = wildcards["model"], config.lens_page["images"]
    if images == 0:
        raise InputError("config: lens_page.images is 0, so there are no lens pages; write how many images they show")
    shown = planning.page_methods(config, model)
    entry, architecture = config.models[model], config.architecture(model)
    others = [name for name in config.models if config.models[name]["dataset"] == entry["dataset"] and name != model]
    height, width = sides(architecture["image_size"])
    return {
        "images": images,
        "seed": config.seed,
        "methods": [[name, METHODS[name].label] for name in shown],
        "facts": {
            "model": model,
            "label": entry["label"],
            "dataset": entry["dataset"],
            "grid": architecture["grid"],
            **({"ratio": width / height} if width != height else {}),
            "prefix": prefix_names(
                architecture["num_prefix_tokens"],
                has_class_token=architecture["has_class_token"],
                distilled=architecture["distilled"],
            ),
            "notes": _lens_notes(config, model, shown),
            **_series(config, model),
            "others": [{"model": name, "label": config.models[name]["label"]} for name in others],
        },
    }


def _series(config: Config, model: str) -> Slice:
    """Return what the page of a point of a series says of the others, nothing of other models."""
    points = config.points(model)
    if len(points) == 1:
        return {}
    found = [{"model": point, "number": config.models[point]["series"]["point"]} for point in points]
    return {"series": {"at": config.models[model]["series"]["at"], "points": found}}


def _lens_notes(config: Config, model: str, shown: list[str]) -> list[str]:
    """Say what a model's page cannot show, and why."""
    architecture = config.architecture(model)
    notes = pooling_notes(
        architecture["lacks"],
        has_class_token=architecture["has_class_token"],
        class_token_pooling=architecture["class_token_pooling"],
    )
    if not shown:
        text = "No explanations: the config compares none for this model (analyses, explanations.methods), nor lists"
        notes.append(f"{text} one that applies to it for pages (lens_page.explanations).")
    elif shown == planning.explained_methods(config, model):
        wanted = config.explanations["methods"] or list(METHODS)
        others = [METHODS[name].label for name in wanted if name not in applicable.methods(config, model)]
        if others:
            notes.append(f"Explanations that do not apply to this model: {', '.join(others)}.")
    if not applicable.has(config, model, MASKS):
        notes.append("The data set has no masks, so tokens are not told apart as class and context.")
    return notes
