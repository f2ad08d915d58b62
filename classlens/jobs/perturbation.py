"""Config slices of perturbations, explanations and their faithfulness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classlens.errors import InputError
from classlens.explanations.methods import require_method
from classlens.jobs.extraction import extract_local
from classlens.jobs.measures import need_masks, resampling
from classlens.jobs.models import network, normalisation
from classlens.perturbation.kinds import require_attention_kind

if TYPE_CHECKING:
    from classlens.config import Config

HEATMAP_IMAGES = 4

Wildcards = Mapping[str, str]
Slice = dict[str, Any]


def running(config: Config, model: str) -> Slice:
    """Return what a forward pass follows from."""
    return {**network(config, model), **normalisation(config, model), "precision": config.extraction["precision"]}


def perturb_attention(config: Config, wildcards: Wildcards) -> Slice:
    """One kind of one model."""
    model, kind = wildcards["model"], wildcards["kind"]
    require_attention_kind(kind, model, has_class_token=config.card(model)["has_class_token"])
    return {**running(config, model), "kind": kind}


def perturb_tokens(config: Config, wildcards: Wildcards) -> Slice:
    """One kind of one model whose tokens are labelled."""
    need_masks(config, wildcards["model"])
    return {**running(config, wildcards["model"]), "kind": wildcards["kind"]}


def attention_perturbation(config: Config, wildcards: Wildcards) -> Slice:
    """All kinds of one model."""
    return {"kinds": config.attention_kinds(wildcards["model"]), **resampling(config)}


def token_perturbation(config: Config, wildcards: Wildcards) -> Slice:
    """All kinds of one model."""
    need_masks(config, wildcards["model"])
    return resampling(config)


def gradient_explanations(config: Config, wildcards: Wildcards) -> Slice:
    """All three methods of one model."""
    _require(config, wildcards["model"], "gradient")
    return running(config, wildcards["model"])


def attention_explanations(config: Config, wildcards: Wildcards) -> Slice:
    """All methods by attention weights of one model."""
    _require(config, wildcards["model"], "chefer")
    return running(config, wildcards["model"])


def random_explanation(config: Config, wildcards: Wildcards) -> Slice:
    """One order per image."""
    return {"tokens": _image_tokens(config, wildcards["model"]), "seed": config.seed}


def removal_curves(config: Config, wildcards: Wildcards) -> Slice:
    """One method of one model; random orders have several seeds of their own."""
    model, method = wildcards["model"], wildcards["method"]
    if method != "probe":
        _require(config, model, method)
    seeds = [config.seed + number for number in range(config.faithfulness["random_seeds"])]
    return {
        **running(config, model),
        "counts": config.removal_counts(model),
        "seeds": seeds if method == "random" else [],
    }


def faithfulness_auc(config: Config, wildcards: Wildcards) -> Slice:
    """All methods of one model."""
    return {"methods": config.methods(wildcards["model"]), **resampling(config)}


def removal_curves_table(config: Config, wildcards: Wildcards) -> Slice:
    """All methods of one model."""
    model = wildcards["model"]
    return {"methods": config.methods(model), "tokens": _image_tokens(config, model)}


def segmentation_scores(config: Config, wildcards: Wildcards) -> Slice:
    """All methods of one model."""
    model = wildcards["model"]
    need_masks(config, model)
    return {"methods": config.methods(model), "grid": config.card(model)["grid"], **resampling(config)}


def linear_probe(config: Config, wildcards: Wildcards) -> Slice:
    """One site of one model."""
    model, site = wildcards["model"], wildcards["site"]
    _need_training(config, model)
    blocks = config.probed_blocks(config.card(model)["depth"])
    probes = {"probes": [[site, block] for block in blocks], "tokens": config.probes["tokens"], "penalty": 1.0}
    return {**running(config, model), **probes}


def linear_probe_local(config: Config, wildcards: Wildcards) -> Slice:
    """How to run it."""
    return {**extract_local(config, wildcards), "memory_gib": config.probes["memory_gib"]}


def linear_probes(config: Config, wildcards: Wildcards) -> Slice:
    """All probes of one model."""
    _need_training(config, wildcards["model"])
    return resampling(config)


def probe_explanation(config: Config, wildcards: Wildcards) -> Slice:
    """Everything is in the probes."""
    _need_training(config, wildcards["model"])
    return {}


def heatmaps(config: Config, wildcards: Wildcards) -> Slice:
    """A few images of one model with [CLS]."""
    model = wildcards["model"]
    _require(config, model, config.explanations["heatmap_method"])
    depth, chosen = config.card(model)["depth"], config.explanations
    count = config.images(config.models[model]["dataset"])
    spread = [round(step * (count - 1) / (HEATMAP_IMAGES - 1)) for step in range(HEATMAP_IMAGES)]
    return {
        **running(config, model),
        "method": chosen["heatmap_method"],
        "images": chosen["images"] or sorted(set(spread)),
        "second_class": chosen["second_class"],
        "block": depth - 1 if chosen["block"] is None else chosen["block"],
        "head": chosen["head"],
    }


def heatmaps_local(config: Config, _wildcards: Wildcards) -> Slice:
    """Where to run it."""
    return {"device": config.extraction["device"]}


perturb_attention_local = extract_local
perturb_tokens_local = extract_local
gradient_explanations_local = extract_local
attention_explanations_local = extract_local
removal_curves_local = extract_local


def _image_tokens(config: Config, model: str) -> int:
    rows, columns = config.card(model)["grid"]
    return int(rows * columns)


def _require(config: Config, model: str, method: str) -> None:
    card = config.card(model)
    require_method(
        method, model, has_class_token=card["has_class_token"], class_token_pooling=card["class_token_pooling"]
    )


def _need_training(config: Config, model: str) -> None:
    if not config.applies(model, "linear_probes"):
        name = config.models[model]["dataset"]
        raise InputError(f"linear probes of {model} need training images; raise datasets.{name}.train_per_class")
