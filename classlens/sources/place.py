"""Where a config's SOURCE lies, for planning: by names and folders alone, without torch or any library of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from classlens.models.facts import SOURCE, TORCHVISION

LIBRARIES = (TORCHVISION, "open_clip:", "hf-hub:")
MOST_IMAGES = 8
DESCRIPTIONS = (
    "config.json", "preprocessor_config.json", "processor_config.json", "adapter_config.json", "open_clip_config.json",
)  # fmt: skip
WEIGHTS = (
    "model*.safetensors", "pytorch_model*.bin", "*.index.json", "adapter_model.*", "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)  # fmt: skip
TOKENIZERS = ("tokenizer*.json", "special_tokens_map.json", "vocab.*", "merges.txt", "spiece.model")


def is_source(architecture: str) -> bool:
    """Tell whether an architecture stands for a SOURCE."""
    return architecture.startswith(SOURCE)


def named(architecture: str) -> str:
    """Return the SOURCE as its user wrote it."""
    return architecture.removeprefix(SOURCE)


def path_of(architecture: str) -> Path | None:
    """Return the folder or file of a SOURCE, None where a library or a hub has it."""
    name = named(architecture)
    if name.startswith("open_clip:") and (tag := name.partition("/")[2]) and Path(tag).is_file():
        return Path(tag)
    return None if name.startswith(LIBRARIES) else Path(name)


def spread(items: Sequence[str], most: int = MOST_IMAGES) -> list[str]:
    """Return some of many, evenly spread: the images that a certificate compares."""
    return [items[place * len(items) // most] for place in range(most)] if len(items) > most else list(items)


def files_of(architecture: str) -> list[str]:
    """Return the files of a SOURCE on this machine, nothing where a library or a hub has it."""
    place = path_of(architecture)
    if place is None or not place.is_dir():
        return [] if place is None else [str(place)]
    found = [place / name for name in DESCRIPTIONS if (place / name).is_file()]
    return [*map(str, found), *sorted(str(file) for pattern in WEIGHTS for file in place.glob(pattern))]


def files_of_tower(name: str) -> list[str]:
    """Return the files of a SOURCE on this machine whose text tower is taken, with those of its tokenizer."""
    place = path_of(name)
    found = sorted(str(file) for pattern in TOKENIZERS for file in place.glob(pattern)) if place else []
    return [*files_of(name), *found]
