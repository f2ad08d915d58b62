"""Where timm's pretrained weights come from, how large they are, and whether they are here already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse

import torch
from huggingface_hub import constants, try_to_load_from_cache
from timm.models import get_pretrained_cfg

from classlens.models.build import build
from classlens.models.saved import is_saved

HUB = "https://huggingface.co"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm looks for on the hub."""
BYTES_PER_NUMBER = 4


def published_note(architecture: str, options: Mapping[str, Any]) -> str:
    """Say where an architecture's pretrained weights are published, how large they are, and whether they are here.

    Raises:
        InputError: the architecture is unknown or not supported.
    """
    model: Any = build(architecture, options, device="meta")
    size = BYTES_PER_NUMBER * sum(parameter.numel() for parameter in model.parameters())
    known = get_pretrained_cfg(architecture) if not is_saved(architecture) else None
    published: Any = known or SimpleNamespace(**{"hf_hub_filename": None, "url": None, **model.pretrained_cfg})
    hub = str(published.hf_hub_id or "").partition("@")[0]
    where = f"{HUB}/{hub}" if hub else str(published.url or "nowhere")
    place = _cached(hub, published)
    here = f"are in {place}" if place else f"are not here yet and will be downloaded to {_folder(hub)}"
    return f"{where} (about {size / 1e6:,.0f} MB) {here}"


def _cached(hub: str, published: Any) -> Path | None:
    """Return the weights' place in the cache, None where they are not there."""
    if not hub:
        file = _folder(hub) / Path(urlparse(str(published.url)).path).name
        return file if file.is_file() else None
    found = (try_to_load_from_cache(hub, name) for name in (*HUB_FILES, published.hf_hub_filename) if name)
    return next((Path(place) for place in found if isinstance(place, str)), None)


def _folder(hub: str) -> Path:
    return Path(constants.HF_HUB_CACHE) if hub else Path(torch.hub.get_dir()) / "checkpoints"
