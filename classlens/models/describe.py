"""Facts about an architecture of timm: the counts that the workflow must know before it loads a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from timm.data.config import resolve_model_data_config
from timm.models import parse_model_name

from classlens.data.geometry import Size, sides, simple
from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.inputs import channels_of, per_channel
from classlens.models.needs import lacks
from classlens.models.parallel import canonical_form
from classlens.models.patch import pixels_of_token
from classlens.models.pooling import head_width
from classlens.models.saved import config_file, is_saved, not_saved_by_timm

RESIZES = {"center": "shortest", "squash": "squash"}


def describe(architecture: str, options: Mapping[str, Any], size: Size | None = None) -> dict[str, Any]:
    """Return the facts about an architecture, without making its parameters.

    Args:
        architecture, options: see `classlens.models.build.build`.
        size: of the images; a model that takes them of any size (dynamic_img_size) is built for this one.

    Returns:
        depth (B), heads, width (D), head_width (how many numbers the head reads), num_classes (C), published_classes
        (of timm's own weights), tokens (T), num_prefix_tokens, has_class_token, distilled (it has two heads), grid
        (rows and columns of image tokens), patch (height and width of each, pixels), image_size (pixels: a side, or
        height and width), channels (1: grey images), class_token_pooling, lacks (of what explanations need, see
        `needs.lacks`; one output counts as two classes), and timm's own transform. Where something else builds the
        same, of a saved model (`classlens.models.saved`) or for a size, also built_as (architecture and options); of a
        saved model class_names where it brings such.

    Raises:
        InputError: the model is unknown or not supported.
    """
    if ":" in architecture:
        _require_saved(architecture)
    model: Any = build(architecture, options, device="meta")
    embedding = model.patch_embed
    sized = size is not None and not embedding.strict_img_size and sides(size) != tuple(embedding.img_size)
    if size is not None and sized:
        options = {**options, "img_size": list(sides(size))}
        model = build(architecture, options, device="meta")
    count, published = model.num_classes, model.pretrained_cfg["num_classes"]
    model = canonical_form(model)
    rows, columns = model.patch_embed.grid_size
    image_size, patch = model.patch_embed.img_size, pixels_of_token(model)
    if (not embedding.strict_img_size or embedding.dynamic_img_pad) and any(
        s % p for s, p in zip(image_size, patch, strict=True)
    ):
        raise InputError(
            f"architecture {architecture!r}: inputs of {image_size} pixels are padded to patches of {patch} by "
            f"dynamic_img_pad, or refused by dynamic_img_size; take an img_size that patches divide, or leave these out"
        )
    channels = channels_of(model)
    data = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    if data["crop_mode"] not in RESIZES:
        raise InputError(f"architecture {architecture!r}: timm's crop mode {data['crop_mode']!r} is not known")
    facts = {
        "depth": len(model.blocks),
        "heads": model.blocks[0].attn.num_heads,
        "width": model.embed_dim,
        "head_width": head_width(model),
        "num_classes": count,
        "published_classes": published,
        "tokens": rows * columns + model.num_prefix_tokens,
        "num_prefix_tokens": model.num_prefix_tokens,
        "has_class_token": model.cls_token is not None,
        "distilled": getattr(model, "head_dist", None) is not None,
        "class_token_pooling": model.global_pool == "token",
        "lacks": lacks(model),
        "grid": [rows, columns],
        "patch": list(patch),
        "image_size": simple(image_size),
        "channels": channels,
        "transform": {
            "size": simple(image_size),
            "resize": RESIZES[data["crop_mode"]],
            "crop": data["crop_pct"],
            "interpolation": data["interpolation"],
            "mean": per_channel(data["mean"], channels),
            "std": per_channel(data["std"], channels),
        },
    }
    if is_saved(architecture):
        return {**facts, **_of_saved(model, architecture, options)}
    return {**facts, "built_as": [architecture, dict(options)]} if sized else facts


def _require_saved(architecture: str) -> None:
    """Check that timm can take the name as that of a saved model, and fetch its description from a hub."""
    try:
        parse_model_name(architecture)
        file = config_file(architecture, fetch=True)
    except Exception as error:  # of the network, of the hub's client, or timm's advice how to write the name
        raise InputError(f"architecture {architecture!r}: {str(error).splitlines()[0]}") from error
    if told := not_saved_by_timm(architecture, file):
        raise InputError(f"architecture {architecture!r}: {told}")


def _of_saved(model: Any, architecture: str, options: Mapping[str, Any]) -> dict[str, Any]:
    file = config_file(architecture)
    assert file is not None
    described = json.loads(file.read_text())
    sizes = {
        "num_classes": model.num_classes,
        "global_pool": model.global_pool,
        "in_chans": model.patch_embed.proj.in_channels,
        "img_size": list(model.patch_embed.img_size),
    }
    name, built = described["architecture"], {**sizes, **described.get("model_args", {}), **options}
    same: Any = canonical_form(build(name, built, device="meta"))
    shapes = [[(key, tensor.shape) for key, tensor in one.state_dict().items()] for one in (model, same)]
    if shapes[0] != shapes[1] or model.global_pool != same.global_pool:
        raise InputError(
            f"architecture {architecture!r}: {name} with {built} is another model; write these as architecture and "
            f"options, with weights: the checkpoint"
        )
    names = model.pretrained_cfg.get("label_names")
    listed = isinstance(names, list | tuple) and len(names) == model.num_classes
    return {"built_as": [name, built], "class_names": list(map(str, names)) if listed else None}
