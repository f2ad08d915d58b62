"""Image towers of open_clip, by the configs that the library has of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from classlens.data.geometry import Size, sides
from classlens.errors import InputError
from classlens.models.checkpoint import Tensors
from classlens.models.match import adapted
from classlens.sources.names import Table, ratio, renamed, resampled
from classlens.sources.preprocessing import OPENAI
from classlens.sources.source import Source

PREFIX = "open_clip:"
CONFIG, FILES = "open_clip_config.json", ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
BLOCK = r"transformer\.resblocks\.(\d+)\."
NAMES: Table = (
    ("class_embedding", "cls_token"),
    ("positional_embedding", "pos_embed"),
    ("conv1", "patch_embed.proj"),
    ("ln_pre", "norm_pre"),
    ("ln_post", "norm"),
    ("proj", "head.weight"),
    (BLOCK + "ln_([12])", r"blocks.\1.norm\2"),
    (BLOCK + r"attn\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
    (BLOCK + r"attn\.out_proj", r"blocks.\1.attn.proj"),
    (BLOCK + r"mlp\.c_fc", r"blocks.\1.mlp.fc1"),
    (BLOCK + r"mlp\.c_proj", r"blocks.\1.mlp.fc2"),
    (BLOCK + r"ls_([12])\.gamma", r"blocks.\1.ls\2.gamma"),
)
DEFAULTS = {"layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16, "image_size": 224}
NOT_READ = (
    "attentional_pool", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc",
    "act_kwargs",
)  # fmt: skip
"""Settings of towers that timm does not compute."""


def is_openclips(names: Mapping[str, Any]) -> bool:
    """Tell whether a state dict is of a whole model of open_clip or of CLIP."""
    return "visual.class_embedding" in names or "visual.trunk.patch_embed.proj.weight" in names


def config_named(name: str) -> dict[str, Any]:
    """Return the config of a model of open_clip, by its name there.

    Raises:
        InputError: open_clip is not installed, or has no such model.
    """
    try:
        import open_clip
    except ModuleNotFoundError:
        raise InputError(f"{PREFIX}{name}: open_clip is not installed; run pip install 'classlens[sources]'") from None
    config: dict[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        raise InputError(f"{PREFIX}{name}: open_clip has no such model; see open_clip.list_models()")
    return config


def asked_of(name: str) -> tuple[str, dict[str, Any]]:
    """Return what open_clip calls a SOURCE, and further arguments of its `create_model`."""
    if name.startswith(PREFIX):
        known, _, tag = name.removeprefix(PREFIX).partition("/")
        return known, {"pretrained": tag}
    return name if name.startswith("hf-hub:") else f"local-dir:{name}", {}


def from_tensors(
    config: Mapping[str, Any],
    given: Mapping[str, torch.Tensor],
    name: str,
    img_size: Size | None = None,
    preprocess: Mapping[str, Any] | None = None,
) -> Source:
    """Return the image tower of a model.

    Args:
        config: as open_clip has it: embed_dim, vision_cfg, quick_gelu.
        given: the whole model's state dict.
        name: what its user calls it.
        img_size: other pixels than the config's.
        preprocess: open_clip's, with mean, std, interpolation, resize_mode; None: CLIP's.

    Raises:
        InputError: timm does not compute the same; the message says what differs.
    """
    vision = config["vision_cfg"]
    tower = {key.removeprefix("visual."): one for key, one in given.items() if key.startswith("visual.")}
    size = img_size or vision.get("image_size", DEFAULTS["image_size"])
    asked = preprocess or {}
    transform = {
        "size": list(sides(size)),
        "resize": "squash" if asked.get("resize_mode") == "squash" else "shortest",
        "crop": 1.0,
        "interpolation": asked.get("interpolation", "bicubic"),
        "mean": list(asked.get("mean", OPENAI["image_mean"])),
        "std": list(asked.get("std", OPENAI["image_std"])),
    }
    shared: dict[str, Any] = {"name": name, "library": "open_clip", "transform": transform}
    if "timm_model_name" in vision:
        return _inside(vision, tower, shared)
    if isinstance(vision.get("layers"), list):
        raise InputError(f"{name} is a ResNet of open_clip; take one with a vision transformer")
    if unread := [key for key in NOT_READ if vision.get(key)]:
        raise InputError(f"{name} sets vision_cfg.{unread[0]}, which timm does not compute; take a plain ViT")
    full = {**DEFAULTS, **vision}
    tensors, _ = renamed(tower, NAMES, (), name)
    tensors["head.weight"] = tensors["head.weight"].T
    width, after = full["width"], full.get("final_ln_after_pool", False)
    pooling = {"tok": "token", "avg": "avg"}.get(full.get("pool_type", "tok"))
    if pooling is None:
        raise InputError(f"{name} does not pool its tokens (vision_cfg.pool_type); take one that does")
    options = {
        "img_size": transform["size"],
        "patch_size": full["patch_size"],
        "embed_dim": width,
        "depth": full["layers"],
        "num_heads": width // full["head_width"],
        "mlp_ratio": ratio(int(width * full["mlp_ratio"]), width),
        "norm_eps": (full.get("norm_kwargs") or {}).get("eps", 1e-5),
        "act_layer": "quick_gelu" if config.get("quick_gelu") else "gelu",
        "pre_norm": not full.get("no_ln_pre"),
        "fc_norm": after,
        "global_pool": pooling,
        "num_classes": len(tensors["head.weight"]),
        **({"init_values": full["ls_init_value"]} if full.get("ls_init_value") else {}),
    }
    old, new = (_grid(one, full["patch_size"]) for one in (full["image_size"], transform["size"]))
    return Source(
        kind="VisionTransformer",
        architecture="vit_base_patch16_clip_224",
        options=options,
        convert=partial(_convert, tensors, old, new, after),
        **shared,
    )


def _grid(size: Any, patch: Any) -> tuple[int, int]:
    (rows, columns), (high, wide) = sides(size), sides(patch)
    return rows // high, columns // wide


def _convert(
    tensors: Tensors, old: tuple[int, int], new: tuple[int, int], after_pool: bool, model: nn.Module
) -> Tensors:
    expected = model.state_dict()
    found = {**tensors, "cls_token": tensors["cls_token"].reshape(1, 1, -1)}
    found["pos_embed"] = resampled(tensors["pos_embed"][None], old, new, antialias=True)
    for part in ("weight", "bias"):
        if after_pool:
            found[f"fc_norm.{part}"] = found.pop(f"norm.{part}")
    for name in ("head.bias", "patch_embed.proj.bias"):
        if name in expected:
            found[name] = torch.zeros(expected[name].shape)
    return found


def _inside(vision: Mapping[str, Any], tower: Mapping[str, torch.Tensor], shared: dict[str, Any]) -> Source:
    """Return a tower that is a model of timm."""
    tensors = {key.removeprefix("trunk."): one for key, one in tower.items() if key.startswith("trunk.")}
    if any(key.startswith("head.mlp.") for key in tower):
        raise InputError(f"{shared['name']}: its projection is an MLP; take a model with a linear one")
    tensors |= {key.replace("head.proj.", "head."): one for key, one in tower.items() if key.startswith("head.proj.")}
    classes = 0 if "head.weight" not in tensors else len(tensors["head.weight"])
    pool = {"global_pool": vision["timm_pool"]} if vision.get("timm_pool") else {}

    def convert(model: nn.Module) -> Tensors:
        bias = {"head.bias": torch.zeros(classes)} if classes and "head.bias" not in tensors else {}
        return adapted({**tensors, **bias}, model, with_head=classes > 0)[0]

    return Source(
        kind=f"TimmModel ({vision['timm_model_name']})",
        architecture=vision["timm_model_name"],
        options={**pool, "img_size": shared["transform"]["size"], "num_classes": classes},
        convert=convert,
        **shared,
    )


def from_module(model: Any, name: str) -> Source:
    """Return the image tower of a live model, whose settings are read from its modules.

    Raises:
        InputError: as `from_tensors`.
    """
    tower = model.visual
    preprocess = {
        key.removeprefix("image_"): one
        for key in ("image_mean", "image_std")
        if (one := getattr(tower, key, None)) is not None
    }
    if hasattr(tower, "trunk"):
        pool = tower.trunk.global_pool
        vision = {"timm_model_name": tower.trunk.pretrained_cfg["architecture"], "timm_pool": pool}
        size = list(tower.trunk.patch_embed.img_size)
        return from_tensors({"vision_cfg": {**vision, "image_size": size}}, model.state_dict(), name, None, preprocess)
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
    if blocks is None or type(blocks[0]).__name__ != "ResidualAttentionBlock" or tower.attn_pool is not None:
        raise InputError(f"{name}: its tower is a {type(tower).__name__} that is no plain vision transformer")
    width = tower.conv1.out_channels
    vision = {
        "layers": len(blocks),
        "width": width,
        "head_width": width // blocks[0].attn.num_heads,
        "mlp_ratio": blocks[0].mlp.c_fc.out_features / width,
        "patch_size": list(tower.patch_size),
        "image_size": list(tower.image_size),
        "ls_init_value": 1.0 if hasattr(blocks[0].ls_1, "gamma") else None,
        "pool_type": tower.pool_type,
        "final_ln_after_pool": tower.final_ln_after_pool,
        "no_ln_pre": isinstance(tower.ln_pre, nn.Identity),
        "norm_kwargs": {"eps": tower.ln_post.eps},
    }
    quick = type(blocks[0].mlp.gelu).__name__ == "QuickGELU"
    config = {"vision_cfg": vision, "quick_gelu": quick}
    return from_tensors(config, model.state_dict(), name, None, preprocess)
