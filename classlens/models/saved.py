"""Models that timm saved, by timm's own names: `local-dir:PATH`, a folder, and `hf-hub:OWNER/NAME`, on Hugging Face.

Such a name stands for an architecture with options and a transform, which config.json says, and for weights.
"""

from __future__ import annotations

from pathlib import Path

from classlens.errors import InputError
from classlens.models.foreign import config_of, folder

LOCAL, HUB = "local-dir:", "hf-hub:"
CONFIG = "config.json"
PREFERRED = (
    "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth", "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth",
)  # fmt: skip
SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".bin")
"""Files of a folder and their order, as `timm.models._hub.load_state_dict_from_path` looks for them."""


def is_saved(architecture: str) -> bool:
    """Tell whether an architecture is that of a saved model."""
    return architecture.startswith((LOCAL, HUB, "hf_hub:"))


def local_folder(architecture: str) -> Path | None:
    """Return the folder of a saved model, None where it lies in none."""
    return Path(architecture.removeprefix(LOCAL)) if architecture.startswith(LOCAL) else None


def config_file(architecture: str, *, fetch: bool = False) -> Path | None:
    """Return where a saved model's description lies, None where it is not here; with `fetch` it is downloaded then."""
    place = local_folder(architecture)
    if place is not None:
        return place / CONFIG if (place / CONFIG).is_file() else None
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    name, _, revision = architecture.partition(":")[2].partition("@")
    found = try_to_load_from_cache(name, CONFIG, revision=revision or None)
    if not isinstance(found, str) and fetch:
        found = hf_hub_download(name, CONFIG, revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def not_saved_by_timm(architecture: str, file: Path | None) -> str | None:
    """Return why timm cannot build a saved model that a file describes, None where it can."""
    place = local_folder(architecture)
    if place is not None and not place.is_dir():
        there = "" if place.is_absolute() else f" in {Path.cwd()}"
        return f"there is no folder {place}{there}"
    if file is None:
        return f"{place or 'the repository'} has no {CONFIG}; name a model that timm.models.save_for_hf saved"
    if "architecture" not in config_of(file.parent):
        what = folder(file.parent) if place is not None else "is no model that timm saved"
        return f"{place or 'the repository'} {what}"
    return None


def saved_weights(architecture: str) -> Path:
    """Return the checkpoint in a saved model's folder, the one that timm takes.

    Raises:
        InputError: there is none.
    """
    place = local_folder(architecture)
    assert place is not None
    for name in PREFERRED:
        if (place / name).exists():
            return place / name
    for suffix in SUFFIXES:
        if found := sorted(place.glob(f"*{suffix}")):
            return found[0]
    raise InputError(f"architecture {architecture!r}: {place} holds no checkpoint such as {PREFERRED[0]}")
