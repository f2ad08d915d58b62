"""The model that a source's own library makes of its files: what a certificate compares with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from classlens.data.geometry import sides
from classlens.models.checkpoint import tensors_in
from classlens.models.facts import TORCHVISION
from classlens.models.foreign import config_of
from classlens.sources import openclip, torch_vision
from classlens.sources.adapters import adapter_config
from classlens.sources.find import folders_of
from classlens.sources.huggingface import preprocessor_of
from classlens.sources.source import Source

HIDDEN = ("vit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "vit_mae", "vit_msn")
"""Of these without a head the last hidden state is compared, of others the pooled one, which alone is after a norm."""


@dataclass(frozen=True)
class Original:
    """A library's own model.

    Attributes:
        forward: returns outputs (n, ...) of inputs (n, 3, H, W).
        prepare: the library's own way from a picture to an input (3, H, W); None where its files have none.
        version: of the library.
        hidden: what `forward` returns are all tokens, after the last norm.
    """

    forward: Callable[[torch.Tensor], torch.Tensor]
    prepare: Callable[[Image.Image], torch.Tensor] | None
    version: str
    hidden: bool = False


def original(name: str, source: Source) -> Original:
    """Return the library's own model of a SOURCE that was found to be `source`, see `classlens.sources.find.find`.

    Raises:
        ModuleNotFoundError: the library is not installed.
    """
    making = {"transformers": _of_transformers, "torchvision": _of_torchvision, "open_clip": _of_open_clip}
    return making[source.library](name, source)


def _of_transformers(name: str, source: Source) -> Original:
    import transformers

    place, inner = folders_of(name)
    config, adapter = config_of(inner), adapter_config(place)
    of = ((adapter or {}).get("auto_mapping") or {}).get("base_model_class") or (config.get("architectures") or [""])[0]
    classes = int(source.options["num_classes"])
    labels = {"num_labels": classes} if adapter and classes else {}
    kind: Any = getattr(transformers, of, None) or transformers.AutoModel
    model: Any = kind.from_pretrained(inner, dtype=torch.float32, local_files_only=True, **labels)
    if adapter is not None:
        import peft

        model = peft.PeftModel.from_pretrained(model, place)
    model.eval()
    if "mask_ratio" in config:  # random otherwise
        model.config.mask_ratio = 0.0
    pictures = place if preprocessor_of(place) else inner
    processors: Any = transformers.AutoImageProcessor
    processor: Any = processors.from_pretrained(pictures) if preprocessor_of(pictures) else None
    hidden = source.kind in HIDDEN and not classes
    trained = config.get("vision_config", config).get("image_size")

    def forward(images: torch.Tensor) -> torch.Tensor:
        more: dict[str, Any] = {}
        resizes = "dino" in source.kind or source.kind == "timm_wrapper"  # by themselves, or never
        if trained and sides(trained) != tuple(images.shape[-2:]) and not resizes:
            more["interpolate_pos_encoding"] = True
        if "mask_ratio" in config:
            tokens = (images.shape[-1] // config["patch_size"]) * (images.shape[-2] // config["patch_size"])
            more["noise"] = torch.arange(tokens).float().expand(len(images), -1)
        inner_model = getattr(model, "vit", model) if "Pretraining" in of or "PreTraining" in of else model
        if hasattr(model, "get_image_features"):
            found = model.get_image_features(images, **more)
            return found if isinstance(found, torch.Tensor) else found.pooler_output
        found = inner_model(pixel_values=images, **more)
        for key in ("logits", "image_embeds", *(() if hidden else ("pooler_output",)), "last_hidden_state"):
            if found.get(key) is not None:
                chosen: torch.Tensor = found[key]
                return chosen
        raise ValueError(f"{of} returns none of logits, image_embeds and last_hidden_state")

    def prepare(image: Image.Image) -> torch.Tensor:
        inputs: torch.Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return inputs

    return Original(forward, None if processor is None else prepare, transformers.__version__, hidden)


def _of_torchvision(name: str, source: Source) -> Original:
    if name.startswith(TORCHVISION):
        weights: Any = torch_vision.weights_of(name)
        made = torch_vision.whole_model(source, weights.get_state_dict(progress=False, check_hash=True))
        return Original(made, weights.transforms(), torch_vision.VERSION)
    return Original(torch_vision.whole_model(source, tensors_in(Path(name))), None, torch_vision.VERSION)


def _of_open_clip(name: str, source: Source) -> Original:
    import open_clip

    known, asked = openclip.asked_of(name)
    size = tuple(source.transform["size"])
    model, _, prepare = open_clip.create_model_and_transforms(known, force_image_size=size, **asked)
    return Original(model.eval().encode_image, prepare, open_clip.__version__)
