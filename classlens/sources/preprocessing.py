"""A picture's way into a model of transformers, as a config's `transform` says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classlens.errors import InputError

STANDARD = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
OPENAI = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
BILINEAR, BICUBIC = 2, 3
SQUARE = {"height": 224, "width": 224}
DEFAULTS: dict[str, dict[str, Any]] = {
    "ViTImageProcessor": {**STANDARD, "size": SQUARE, "resample": BILINEAR},
    "DeiTImageProcessor": {
        **STANDARD, "size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": SQUARE,
        "resample": BICUBIC,
    },
    "BeitImageProcessor": {**STANDARD, "size": SQUARE, "crop_size": SQUARE, "resample": BICUBIC},
    "BitImageProcessor": {
        **OPENAI, "size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": SQUARE, "resample": BICUBIC,
    },
    "CLIPImageProcessor": {
        **OPENAI, "size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": SQUARE, "resample": BICUBIC,
    },
    "SiglipImageProcessor": {**STANDARD, "size": SQUARE, "resample": BICUBIC},
    "DINOv3ViTImageProcessor": {**IMAGENET, "size": SQUARE, "resample": BILINEAR},
}  # fmt: skip
"""What the processors of transformers do where preprocessor_config.json does not say it."""
INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""PIL's numbers."""


def transform_of(given: Mapping[str, Any], default: str, where: str) -> dict[str, Any]:
    """Return size (height, width), resize, crop, interpolation, mean and std.

    Args:
        given: preprocessor_config.json, or nothing.
        default: processor of the family; the file's own goes before it.
        where: the file, for messages.

    Raises:
        InputError: pictures are prepared in a way that a transform cannot say.
    """
    kind = str(given.get("image_processor_type") or given.get("feature_extractor_type") or default)
    kind = kind.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    config = {**DEFAULTS.get(kind, DEFAULTS[default]), **{key: one for key, one in given.items() if one is not None}}
    resized, shortest = _edges(config["size"], where)
    cropped = _edges(config["crop_size"], where)[0] if config.get("do_center_crop", False) else resized
    if not config.get("do_resize", True):
        raise InputError(f"{where}: do_resize is false, so pictures keep their size; give the transform in the config")
    if cropped is None or any(len(set(one)) > 1 for one in (cropped, resized or [])):
        raise InputError(f"{where}: pictures do not become squares; give the transform in the config")
    scale = 255 * config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 255.0
    mean, std = (config["image_mean"], config["image_std"]) if config.get("do_normalize", True) else (0.0, 1.0)
    mean, std = ([float(one)] * 3 if isinstance(one, int | float) else [float(x) for x in one] for one in (mean, std))
    exact = abs(scale - 1) < 1e-12
    return {
        "size": list(cropped),
        "resize": "squash" if resized else "shortest",
        "crop": cropped[0] / (resized[0] if resized else shortest),
        "interpolation": INTERPOLATIONS.get(config["resample"], "bicubic"),
        "mean": mean if exact else [one / scale for one in mean],
        "std": std if exact else [one / scale for one in std],
    }


def _edges(size: Any, where: str) -> tuple[list[int] | None, int]:
    """Return height and width, or None and the shortest edge, where that is what is given."""
    if isinstance(size, int):
        return [size, size], 0
    if isinstance(size, list | tuple) and len(size) == 2:
        return [int(one) for one in size], 0
    if isinstance(size, Mapping) and {"height", "width"} <= size.keys() and size["height"]:
        return [int(size["height"]), int(size["width"])], 0
    if isinstance(size, Mapping) and size.get("shortest_edge") and not size.get("longest_edge"):
        return None, int(size["shortest_edge"])
    raise InputError(f"{where}: the size {size!r} is not understood; give the transform in the config")
