"""ImageNet's 1,000 classes by their wnids, as timm knows them; planning reads its list without importing it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from classlens.errors import InputError
from classlens.models.facts import SOURCE, TORCHVISION

IMAGENET_CLASSES = 1000
SYNSETS = "data/_info/imagenet_synsets.txt"
WNID = re.compile(r"n\d{8}")


def is_wnid(name: str) -> bool:
    """Tell whether a name is formed like a wnid, such as n01440764."""
    return WNID.fullmatch(name) is not None


@cache
def imagenet_indices() -> dict[str, int]:
    """Return the class index of each wnid of ImageNet.

    Raises:
        InputError: timm is not installed, or has no such list.
    """
    found = find_spec("timm")  # which does not import it
    try:
        wnids = Path(((found and found.submodule_search_locations) or [""])[0], SYNSETS).read_text().split()
    except OSError:
        raise InputError(
            "folders are named by wnids, whose order in ImageNet is asked from timm, but its list of them is not "
            "installed; run pip install timm, or write classes.txt beside the folders, a wnid per line"
        ) from None
    return {wnid: index for index, wnid in enumerate(wnids)}


def knows_imagenet(model: Mapping[str, Any]) -> bool:
    """Tell whether a model is said to have ImageNet's 1,000 classes, given its section of the config."""
    if model["head"]:
        from classlens.models.head import head_shape  # which looks at its numbers, by numpy

        return head_shape(model["head"])[0] == IMAGENET_CLASSES
    return may_know_imagenet(model)


def may_know_imagenet(model: Mapping[str, Any]) -> bool:
    """Tell the same without a look at the head, of which it takes any."""
    if model["head"]:
        return True
    # Names with a colon lie elsewhere than at timm, with classes of their own.
    own = model["architecture"].startswith(SOURCE + TORCHVISION)
    published = model["weights"] == "pretrained" and (own or ":" not in model["architecture"])
    texts = model.get("texts")
    known = len(texts["texts"]) if texts else IMAGENET_CLASSES if published else None
    count = model["options"].get("num_classes", known)
    return bool(count == IMAGENET_CLASSES)
