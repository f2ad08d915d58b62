"""Which model a user's SOURCE names, and the timm model that computes the same."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from classlens.data.geometry import Size
from classlens.errors import InputError
from classlens.models.build import create
from classlens.models.checkpoint import tensors_in
from classlens.models.facts import TORCHVISION
from classlens.models.foreign import config_of, folder
from classlens.models.saved import HUB, LOCAL
from classlens.sources import adapters, huggingface, openclip, torch_vision
from classlens.sources.source import Source, timm_model

WANTED = ["*.json", "*.safetensors"]
"""Of a repository on the hub; others may run code when they are read, or hold the same again."""


def load(source: str | Path, img_size: Size | None = None) -> nn.Module:
    """Return the timm model that computes what a source computes, with its weights, in evaluation mode.

    Args:
        source: see `find`, or a name of timm's, also `local-dir:` and `hf-hub:` of models that timm saved.
        img_size: other pixels than its preprocessor's.

    Raises:
        InputError: as `find`, or its tensors do not fit.
    """
    found = find(source, img_size)
    if isinstance(found, Source):
        model = timm_model(found)
        for parameter in model.parameters():  # in place of what is mapped from files, which may be written anew
            parameter.data = parameter.data.clone()
        return model
    return create(found, {} if img_size is None else {"img_size": img_size}, pretrained=True)


def find(source: str | Path, img_size: Size | None = None) -> Source | str:
    """Return what a source is: a model of another library, or timm's name of one of its own.

    Args:
        source: `torchvision:vit_b_16[/WEIGHTS]`; `open_clip:ViT-B-16/TAG`, with a file in place of the tag, too;
            `hf-hub:OWNER/NAME`; a folder of transformers, peft, open_clip or timm; a state dict under torchvision's or
            open_clip's names; a name of timm's.
        img_size: other pixels than its preprocessor's.

    Raises:
        InputError: it is none of these, something is missing, or it is a model that cannot be looked into.
    """
    name = str(source)
    if name.startswith(TORCHVISION):
        return torch_vision.published(name, img_size)
    if name.startswith(openclip.PREFIX):
        return _openclip(name, img_size)
    if name.startswith(HUB):
        return _in_folder(_fetched(name.removeprefix(HUB)), name, img_size)
    place = Path(name).expanduser()
    if place.is_dir():
        return _in_folder(place, name, img_size)
    if place.is_file():
        return _in_file(place, name, img_size)
    if any(sign in name for sign in "/\\") and not name.startswith(LOCAL):
        raise InputError(f"{name}: there is no such folder or file; a model on Hugging Face is {HUB}{name}")
    return name


def _in_folder(place: Path, name: str, img_size: Size | None) -> Source | str:
    config, adapter = config_of(place), adapters.adapter_config(place)
    if adapter is None and (place / openclip.CONFIG).is_file():
        described = json.loads((place / openclip.CONFIG).read_text())
        file = next((place / one for one in openclip.FILES if (place / one).is_file()), None)
        if file is None:
            raise InputError(f"{name} has an {openclip.CONFIG} but no {openclip.FILES[0]}; copy or download it again")
        return openclip.from_tensors(
            described["model_cfg"], tensors_in(file), name, img_size, described.get("preprocess_cfg")
        )
    if adapter is not None or "model_type" in config:
        inner, adapt = place, None
        if adapter is not None:
            inner, adapt = _adapted(place, adapter, name), partial(adapters.merged, config=adapter, folder=place)
            of = (adapter.get("auto_mapping") or {}).get("base_model_class")
            config = {**config_of(inner), **({"architectures": [of]} if of else {})}
        pictures = huggingface.preprocessor_of(place) or huggingface.preprocessor_of(inner)
        return huggingface.from_parts(config, huggingface.tensors_of(inner), name, pictures, img_size, adapt)
    if "architecture" in config:
        return name if name.startswith(HUB) else f"{LOCAL}{place}"
    raise InputError(f"{name} {folder(place)}")


def _in_file(place: Path, name: str, img_size: Size | None) -> Source:
    tensors = tensors_in(place)
    if torch_vision.is_torchvisions(tensors):
        return torch_vision.from_tensors(tensors, name, img_size)
    if openclip.is_openclips(tensors):
        raise InputError(
            f"{name} is a checkpoint of CLIP or open_clip, which does not say its activation and heads; name its "
            f"model, too: {openclip.PREFIX}ViT-B-16/{name} (or ViT-B-16-quickgelu)"
        )
    raise InputError(f"{name} does not say which model it is of; name timm's architecture, too (docs/models.md)")


def _openclip(name: str, img_size: Size | None) -> Source:
    model, _, tag = name.removeprefix(openclip.PREFIX).partition("/")
    config = openclip.config_named(model)
    if not tag:
        raise InputError(f"{name} names no weights: {name}/TAG (see open_clip.list_pretrained()) or {name}/FILE")
    if Path(tag).is_file():
        return openclip.from_tensors(config, tensors_in(Path(tag)), name, img_size)
    import open_clip

    published = open_clip.get_pretrained_cfg(model, tag)
    if not published:
        raise InputError(f"{name}: open_clip knows no weights {tag} of {model}, and there is no such file")
    try:
        file = open_clip.download_pretrained(published)
    except Exception as error:  # of the network or of the hub's client
        raise InputError(f"{name} cannot be downloaded: {str(error).splitlines()[0]}") from error
    return openclip.from_tensors(config, tensors_in(Path(file)), name, img_size, published)


def _adapted(place: Path, adapter: dict[str, Any], name: str) -> Path:
    """Return the folder of the model which an adapter adapts."""
    base = str(adapter.get("base_model_name_or_path") or "")
    inner = place if "model_type" in config_of(place) else Path(base)
    if inner.is_dir():
        return inner
    if Path(base).is_absolute():
        raise InputError(f"{name} adapts the model in {base}, which is not there; put its files beside the adapter's")
    return _fetched(base)


def folders_of(name: str) -> tuple[Path, Path]:
    """Return the folder that a source names, and that of the model which an adapter in it adapts (else the same)."""
    place = _fetched(name.removeprefix(HUB)) if name.startswith(HUB) else Path(name).expanduser()
    adapter = adapters.adapter_config(place)
    return place, place if adapter is None else _adapted(place, adapter, name)


def _fetched(name: str) -> Path:
    """Return where a repository of the hub lies, downloaded unless it is here."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    fetch = partial(snapshot_download, repository, revision=revision or None, allow_patterns=WANTED)
    try:
        try:
            place = Path(fetch(local_files_only=True))
        except OSError:  # it is not here
            place = Path(fetch())
        return place if [*place.glob("*.safetensors")] else Path(fetch(allow_patterns=[*WANTED, "*.bin"]))
    except Exception as error:  # of the network, of the hub's client
        raise InputError(f"{HUB}{name} cannot be fetched: {str(error).splitlines()[0]}") from error
