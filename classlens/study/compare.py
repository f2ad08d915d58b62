"""Write the config of a comparison of two models on a folder of images."""

from __future__ import annotations

import json
import re
from pathlib import Path

from classlens.errors import InputError

CONFIG = "config.yaml"


def names_of(first: str, second: str) -> list[str]:
    """Return what two sources are called in a config: the ends of their paths, or a and b where these are alike."""
    names = [re.sub(r"[^A-Za-z0-9_-]+", "-", Path(source).stem).strip("-") for source in (first, second)]
    return names if len({*names}) == 2 and all(re.match(r"\w", name) for name in names) else ["a", "b"]


def write_comparison(folder: Path, first: str, second: str, data: Path, architecture: str | None) -> list[str]:
    """Write a config of two models and their difference.

    Args:
        folder: the working directory; made where it is missing.
        first, second: sources of models, see docs/models.md.
        data: a folder of images per class, see docs/data.md.
        architecture: timm's name of what both are, where their files do not say it.

    Returns:
        The names of the two models in it.

    Raises:
        InputError: there is no such folder of images, or there is another config.
    """
    if not data.is_dir():
        raise InputError(f"there is no folder {data}; --data names a folder with a folder of images per class")
    names = names_of(first, second)
    told = {"architecture": architecture} if architecture else {}
    models = {
        name: {
            "dataset": "images",
            **told,
            "weights": str(Path(source).absolute()) if Path(source).exists() else source,
        }
        for name, source in zip(names, (first, second), strict=True)
    }
    images = {"kind": "image_folder", "root": str(data.absolute()), "train_per_class": 0}
    # JSON is YAML, and quotes every path.
    text = json.dumps({"datasets": {"images": images}, "models": models, "differences": [names]}, indent=2) + "\n"
    config = folder / CONFIG
    if config.exists() and config.read_text(encoding="utf-8") != text:
        raise InputError(f"{config} is of something else; name another folder with --directory, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(text, encoding="utf-8")
    return names
