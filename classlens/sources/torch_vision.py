"""Vision transformers of torchvision: vit_b_16 to vit_h_14."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models import VisionTransformer, WeightsEnum, get_model_weights, list_models
from torchvision.models.vision_transformer import interpolate_embeddings

from classlens.data.geometry import Size, sides
from classlens.errors import InputError
from classlens.models.checkpoint import Tensors
from classlens.models.facts import TORCHVISION
from classlens.sources.names import Table, ratio, renamed, resampled
from classlens.sources.preprocessing import IMAGENET
from classlens.sources.source import Source

BLOCK = r"encoder\.layers\.encoder_layer_(\d+)\."
NAMES: Table = (
    ("class_token", "cls_token"),
    ("conv_proj", "patch_embed.proj"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (BLOCK + "ln_([12])", r"blocks.\1.norm\2"),
    (BLOCK + r"self_attention\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
    (BLOCK + r"self_attention\.out_proj", r"blocks.\1.attn.proj"),
    (BLOCK + r"mlp\.(?:0|linear_1)", r"blocks.\1.mlp.fc1"),
    (BLOCK + r"mlp\.(?:3|linear_2)", r"blocks.\1.mlp.fc2"),
    (r"encoder\.ln", "norm"),
    (r"heads\.head", "head"),
)
HEADS = {768: 12, 1024: 16, 1280: 16}
"""Of torchvision's own models, by width."""
TRANSFORM = {"resize": "shortest", "crop": 224 / 256, "interpolation": "bilinear"}
"""Of files that come without one: that of torchvision's first weights."""


def weights_of(name: str) -> WeightsEnum:
    """Return the published weights that `torchvision:MODEL` or `torchvision:MODEL/WEIGHTS` names.

    Raises:
        InputError: torchvision has no such vision transformer, or no such weights.
    """
    model, _, tag = name.removeprefix(TORCHVISION).partition("/")
    if model not in (known := list_models(include="vit_*")):
        raise InputError(f"{name}: torchvision has no such vision transformer; take one of {', '.join(known)}")
    weights = get_model_weights(model)
    if tag and tag not in weights.__members__:
        raise InputError(f"{name}: {model} has the weights {', '.join(weights.__members__)}; take one of them")
    found: WeightsEnum = weights[tag or "DEFAULT"]
    return found


def published(name: str, img_size: Size | None = None) -> Source:
    """Return a model with torchvision's published weights, which are downloaded unless they are here.

    Raises:
        InputError: there are no such, or they cannot be downloaded.
    """
    weights = weights_of(name)
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise InputError(f"{name} cannot be downloaded: {error}") from error
    asked: Any = weights.transforms()
    transform = {
        "size": [asked.crop_size[0]] * 2,
        "resize": "shortest",
        "crop": asked.crop_size[0] / asked.resize_size[0],
        "interpolation": asked.interpolation.value,
        "mean": list(asked.mean),
        "std": list(asked.std),
    }
    return from_tensors(tensors, name, img_size, transform=transform, class_names=weights.meta["categories"])


def is_torchvisions(names: Mapping[str, Any]) -> bool:
    """Tell whether a state dict has torchvision's names."""
    return "encoder.pos_embedding" in names and "class_token" in names


def from_tensors(
    given: Mapping[str, torch.Tensor],
    name: str,
    img_size: Size | None = None,
    *,
    heads: int | None = None,
    eps: float = 1e-6,
    transform: Mapping[str, Any] | None = None,
    class_names: list[str] | None = None,
) -> Source:
    """Return the model that a state dict is of.

    Args:
        given: under torchvision's names.
        name: what its user calls it.
        img_size: other pixels than those that it was trained with.
        heads: per block; None: those of torchvision's models of its width.
        eps: of its norms.
        transform: None: `TRANSFORM`.
        class_names: of its classes.

    Raises:
        InputError: it has a convolutional stem or a head that is not linear, or its number of heads is not known.
    """
    if any(key.startswith("conv_proj.") and key.count(".") > 1 for key in given):
        raise InputError(f"{name}: its patches come from a convolutional stem; take a plain vision transformer")
    if any(key.startswith("heads.pre_logits") for key in given):
        raise InputError(f"{name}: its head is not linear (pre_logits), so that it has no row per class")
    tensors, _ = renamed(given, NAMES, (), name)
    width, patch = tensors["patch_embed.proj.weight"].shape[0], tensors["patch_embed.proj.weight"].shape[-1]
    if (heads := heads or HEADS.get(width)) is None:
        raise InputError(
            f"{name} is {width} wide, which no model of torchvision is, so that its number of heads is not known; load "
            f"it into the model that it is of and give that, Lens(model)"
        )
    side = math.isqrt(tensors["pos_embed"].shape[1] - 1)
    size, width_of_images = sides(img_size or side * patch)
    if size != width_of_images:
        raise InputError(f"{name}: models of torchvision take squares, and no {size} x {width_of_images} pixels")
    head = tensors.get("head.weight")
    return Source(
        name=name,
        library="torchvision",
        kind="VisionTransformer",
        architecture="vit_base_patch16_224",
        options={
            "img_size": [size, size],
            "patch_size": patch,
            "embed_dim": width,
            "depth": len({key.split(".")[1] for key in tensors if key.startswith("blocks.")}),
            "num_heads": heads,
            "mlp_ratio": ratio(len(tensors["blocks.0.mlp.fc1.bias"]), width),
            "norm_eps": eps,
            "num_classes": 0 if head is None else len(head),
        },
        convert=partial(_convert, tensors, (side, side), (size // patch, size // patch)),
        transform={
            **TRANSFORM, "mean": IMAGENET["image_mean"], "std": IMAGENET["image_std"], **(transform or {}),
            "size": [size, size],
        },
        class_names=class_names,
    )  # fmt: skip


def _convert(tensors: Tensors, old: tuple[int, int], new: tuple[int, int], _model: nn.Module) -> Tensors:
    # As torchvision.models.vision_transformer.interpolate_embeddings does.
    return {**tensors, "pos_embed": resampled(tensors["pos_embed"], old, new, align_corners=True)}


def from_module(model: VisionTransformer, name: str) -> Source:
    """Return what a live model of torchvision is."""
    block: Any = model.encoder.layers[0]
    return from_tensors(model.state_dict(), name, heads=block.self_attention.num_heads, eps=block.ln_1.eps)


def whole_model(source: Source, given: Mapping[str, torch.Tensor]) -> VisionTransformer:
    """Return torchvision's own model of a state dict, at the size of its source."""
    options = source.options
    model = VisionTransformer(
        image_size=options["img_size"][0],
        patch_size=options["patch_size"],
        num_layers=options["depth"],
        num_heads=options["num_heads"],
        hidden_dim=options["embed_dim"],
        mlp_dim=int(options["mlp_ratio"] * options["embed_dim"]),
        num_classes=options["num_classes"],
    )
    resized = interpolate_embeddings(options["img_size"][0], options["patch_size"], OrderedDict(given))
    for before, after in ((".mlp.linear_1.", ".mlp.0."), (".mlp.linear_2.", ".mlp.3.")):
        resized = OrderedDict((name.replace(before, after), one) for name, one in resized.items())
    model.load_state_dict(resized)
    return model.eval()


VERSION = torchvision.__version__
