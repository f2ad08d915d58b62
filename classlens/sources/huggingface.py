"""Models of transformers, from a folder as save_pretrained or a Trainer leave it; the library itself is not needed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from classlens.data.geometry import Size, sides
from classlens.errors import InputError
from classlens.models.checkpoint import Tensors, tensors_in
from classlens.models.describe import RESIZES
from classlens.models.facts import CLS_MEAN
from classlens.models.foreign import config_of
from classlens.models.match import adapted
from classlens.sources import families
from classlens.sources.families import FAMILIES, IGNORED, REFUSED, SHARED, UNREAD, Family
from classlens.sources.names import fused, renamed, resampled, resampled_biases
from classlens.sources.preprocessing import IMAGENET, transform_of
from classlens.sources.source import Source

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PREFIXES = re.compile(
    r"\A(?:(?:vit|deit|beit|data2vec_vision|dinov2|dinov2_with_registers|dinov3_vit|vision_model|timm_model)\.)+"
)
"""Names of inner models; transformers leaves them out of some files."""
UNNAMED = re.compile(r"LABEL_\d+")
"""What transformers calls a class without a name."""

Adapt = Callable[[Tensors, Callable[[Tensors], Tensors]], Tensors]


def preprocessor_of(folder: Path) -> dict[str, Any]:
    """Return what prepares pictures, nothing where no file of a folder says it."""
    inner = config_of(folder, "processor_config.json").get("image_processor")
    return config_of(folder, "preprocessor_config.json") or (inner if isinstance(inner, dict) else {})


def tensors_of(folder: Path) -> Tensors:
    """Return a folder's tensors, mapped, not read.

    Raises:
        InputError: files are missing or damaged.
    """
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return tensors_in(folder / name)
        if index.is_file():
            try:
                parts = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            except (ValueError, KeyError, AttributeError) as error:
                raise InputError(f"{index} is damaged ({error}); copy or download the folder again") from error
            # Names are joined to the folder, and may not leave it.
            files = [folder / Path(part).name for part in parts]
            if missing := [str(file) for file in files if not file.is_file()]:
                raise InputError(f"{index} names {', '.join(missing)}, which are missing; copy or download them again")
            return {name: tensor for file in files for name, tensor in tensors_in(file).items()}
    raise InputError(f"{folder} has a config.json but no {' or '.join(WEIGHTS)}; save the model with save_pretrained")


def from_parts(
    config: Mapping[str, Any],
    given: Mapping[str, torch.Tensor],
    name: str,
    preprocessor: Mapping[str, Any],
    img_size: Size | None = None,
    adapt: Adapt | None = None,
) -> Source:
    """Return the model that a config and its tensors are of.

    Args:
        config, given, preprocessor: what a folder's files hold.
        name: what its user calls it.
        img_size: other pixels than its preprocessor's.
        adapt: called with tensors under timm's names, and with what brings others under these; returns other tensors.

    Raises:
        InputError: the model is not one of `classlens.sources.families`, or unlike its config.
    """
    kind = str(config.get("model_type"))
    of = str((config.get("architectures") or [""])[0])
    if kind == "timm_wrapper":
        return _of_timm(config, given, name, preprocessor, img_size, adapt)
    family = FAMILIES.get(kind)
    if family is None:
        reason = REFUSED.get(kind, "it is none of " + ", ".join(FAMILIES))
        raise InputError(f"{name} is a {kind} of transformers, which cannot be looked into: {reason}")
    vision = config.get("vision_config")
    own = {key: one for key, one in (vision if isinstance(vision, dict) else config).items() if one is not None}
    full = {**families.DEFAULTS, **dict(family.defaults), **own}
    ignored = (*IGNORED, *(UNREAD.get(kind, ()) if of.endswith("ForImageClassification") else ()))

    def rename(some: Mapping[str, torch.Tensor]) -> tuple[Tensors, Tensors]:
        return renamed(_stripped(some), (*family.names, *SHARED), ignored, f"{name} ({kind})")

    tensors, left = rename(given)
    tensors = adapt(tensors, lambda more: rename(more)[0]) if adapt else tensors
    transform = transform_of(preprocessor, family.transform, f"{name}: preprocessor_config.json")
    size = sides(img_size or (transform["size"] if preprocessor else full["image_size"]))
    try:
        options = family.options(full, of)
    except InputError as error:
        raise InputError(f"{name} is a {kind} of transformers, which timm does not compute: {error}") from None
    architecture, head = family.architecture, tensors.get("head.weight")
    if kind == "deit" and "dist_token" in tensors and "Teacher" not in of:
        architecture = families.VIT
        tensors["reg_token"] = tensors.pop("dist_token")
    if kind.startswith("dinov2") and head is not None:
        options = {**options, "global_pool": CLS_MEAN}
    classes = 0 if head is None else len(head)
    patch = sides(full["patch_size"])
    old, new = ((one[0] // patch[0], one[1] // patch[1]) for one in (sides(full["image_size"]), size))
    return Source(
        name=name,
        library="transformers",
        kind=kind,
        architecture=architecture,
        options={**options, "img_size": list(size), "num_classes": classes},
        convert=partial(_convert, tensors, family, family.constants(full), old, new),
        transform={**transform, "size": list(size)},
        class_names=_labels(config, classes),
        left_out={key: next(why for old, why in ignored if re.fullmatch(old, key)) for key in left},
    )


def _stripped(given: Mapping[str, torch.Tensor]) -> Tensors:
    return {PREFIXES.sub("", name): tensor for name, tensor in given.items()}


def _labels(config: Mapping[str, Any], classes: int) -> list[str] | None:
    """Return the names of classes, None where there are none or they say nothing."""
    named = config.get("id2label")
    try:
        names = [str(name) for _, name in sorted((int(index), name) for index, name in (named or {}).items())]
    except (ValueError, AttributeError):
        return None
    return names if len(names) == classes and not all(UNNAMED.fullmatch(name) for name in names) else None


def _convert(
    tensors: Tensors,
    family: Family,
    constants: Mapping[str, float],
    old: tuple[int, int],
    new: tuple[int, int],
    model: nn.Module,
) -> Tensors:
    found = dict(tensors)
    for name in ("cls_token", "reg_token", "dist_token", "attn_pool.latent"):
        if name in found:
            found[name] = found[name].reshape(1, -1, found[name].shape[-1])
    if "pos_embed" in found:
        positions = found["pos_embed"].reshape(1, -1, found["pos_embed"].shape[-1])
        found["pos_embed"] = resampled(positions, old, new, antialias=family.antialias)
        if family.registers:
            found["cls_token"] = found["cls_token"] + found["pos_embed"][:, :1]
            found["pos_embed"] = found["pos_embed"][:, 1:]
    for name in found:
        if name.endswith("relative_position_bias_table"):
            found[name] = resampled_biases(found[name], old, new)
    for part in ("weight", "bias"):
        if (joined := found.pop(f"attn_pool.in_proj.{part}", None)) is not None:
            width = len(joined) // 3
            found[f"attn_pool.q.{part}"], found[f"attn_pool.kv.{part}"] = joined[:width], joined[width:]
    return fused(found, model.state_dict(), constants)


def _of_timm(
    config: Mapping[str, Any],
    given: Mapping[str, torch.Tensor],
    name: str,
    preprocessor: Mapping[str, Any],
    img_size: Size | None,
    adapt: Adapt | None,
) -> Source:
    """Return a model of timm that was saved inside transformers."""
    tensors = _stripped(given)
    tensors = adapt(tensors, _stripped) if adapt else tensors
    own = {**(config.get("pretrained_cfg") or {}), **(preprocessor.get("pretrained_cfg") or {})}
    head = tensors.get("head.weight")
    classes = 0 if head is None else len(head)
    options: dict[str, Any] = {**(config.get("model_args") or {}), "num_classes": classes}
    if img_size is not None:
        options["img_size"] = list(sides(img_size))
    size = options.get("img_size") or own.get("input_size", [3, 224, 224])[1:]
    names = config.get("label_names") or list((config.get("id2label") or {}).values())
    crop_mode = own.get("crop_mode") or "center"
    return Source(
        name=name,
        library="transformers",
        kind="timm_wrapper",
        architecture=str(config["architecture"]),
        options=options,
        convert=lambda model: adapted(tensors, model, with_head=classes > 0)[0],
        transform={
            "size": list(sides(size)),
            "resize": RESIZES.get(crop_mode, crop_mode),
            "crop": own.get("crop_pct", 0.875),
            "interpolation": own.get("interpolation", "bicubic"),
            "mean": list(own.get("mean", IMAGENET["image_mean"])),
            "std": list(own.get("std", IMAGENET["image_std"])),
        },
        class_names=_labels({"id2label": dict(enumerate(names))}, classes),
    )
