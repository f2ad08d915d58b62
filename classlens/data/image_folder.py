"""Images in one folder per class, with optional masks.

root/<class>/*              the first per_class images are for evaluation, the next for training
root/validation/<class>/*   instead, together with root/train/<class>/*: for evaluation, for training
root/classes.txt            optional: line number = class index, each line a class folder and, after a space, its name;
                            without it folders count in sorted order
masks/<class>/<stem>.png    optional: non-zero is class; also below validation/ if the images are
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from classlens.data.stimulus import Stimulus
from classlens.data.text import read_text
from classlens.errors import InputError

CLASSES = "classes.txt"
PARTITIONS = {"evaluation": "validation", "training": "train"}


def stimuli(dataset: Mapping[str, Any], name: str) -> list[Stimulus]:
    """Return all images, class by class, each class's in sorted order.

    Raises:
        InputError: there is no such folder or no class in it, or classes.txt lacks a class.
    """
    root = _root(dataset, name)
    names = _class_names(root, name)
    found = []
    for index, (class_id, text) in enumerate(names.items()):
        for split, files in _splits(root, class_id, dataset["per_class"]).items():
            found += [Stimulus(split, index, class_id, text, file) for file in files]
    return found


def class_count(dataset: Mapping[str, Any], name: str = "NAME") -> int:
    """Return the number of classes that indices come from."""
    return len(_class_names(_root(dataset, name), name))


def has_masks(dataset: Mapping[str, Any]) -> bool:
    """Tell whether the config names a tree of masks."""
    return bool(dataset["masks"])


def raw_images(dataset: Mapping[str, Any], chosen: Sequence[Stimulus], _name: str) -> list[str]:
    """Return the files of the chosen images."""
    return [str(image_path(dataset["root"], item.file)) for item in chosen]


def raw_masks(dataset: Mapping[str, Any], chosen: Sequence[Stimulus], name: str) -> list[str]:
    """Return the files of the chosen images' masks.

    Raises:
        InputError: there are no masks, or an image has none.
    """
    if not dataset["masks"]:
        raise InputError(f"datasets.{name} has no masks; name a folder of PNG masks with the key masks")
    return [str(mask_path(dataset["masks"], item.file, name)) for item in chosen]


def image_path(root: Path | str, file: str) -> Path:
    """Return where an image of the table lies."""
    return Path(root) / file


def mask_path(masks: Path | str, file: str, name: str = "NAME") -> Path:
    """Return where an image's mask lies.

    Raises:
        InputError: it does not exist.
    """
    relative = Path(file).with_suffix(".png")
    places = [Path(masks) / relative, Path(masks).joinpath(*relative.parts[1:])]
    path = next((place for place in places[: 2 if len(relative.parts) > 2 else 1] if place.is_file()), None)
    if path is None:
        raise InputError(f"datasets.{name}.masks: {file} has no mask {places[0]}; add it, or remove the key masks")
    return path


def _root(dataset: Mapping[str, Any], name: str) -> Path:
    root = Path(dataset["root"])
    if not root.is_dir():
        raise InputError(f"datasets.{name}.root: there is no folder {root}; point it to the one that holds the classes")
    return root


def _is_split(root: Path) -> bool:
    return all((root / partition).is_dir() for partition in PARTITIONS.values())


def _class_names(root: Path, name: str) -> dict[str, str]:
    """Return class folders and their names, by index."""
    folders = [root / partition for partition in PARTITIONS.values()] if _is_split(root) else [root]
    present = sorted({path.name for folder in folders for path in folder.iterdir() if _is_class(path)})
    if not present:
        raise InputError(f"datasets.{name}.root: {root} has no folders of classes; put each class's images into one")
    listed = root / CLASSES
    if not listed.is_file():
        return {class_id: class_id for class_id in present}
    lines = [line.strip() for line in read_text(listed).splitlines() if line.strip()]
    names = {class_id: text or class_id for class_id, _, text in (line.partition(" ") for line in lines)}
    if len(names) < len(lines):
        raise InputError(f"{listed} names a class twice; each line is a class of its own")
    unlisted = [class_id for class_id in present if class_id not in names]
    if unlisted:
        raise InputError(f"{listed} lacks the class folders {', '.join(unlisted[:5])}; add a line for each")
    return names


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _splits(root: Path, class_id: str, per_class: int | None) -> dict[str, list[str]]:
    if _is_split(root):
        return {split: list(_images(root, f"{partition}/{class_id}")) for split, partition in PARTITIONS.items()}
    files = list(_images(root, class_id))
    count = len(files) if per_class is None else per_class
    return {"evaluation": files[:count], "training": files[count:]}


def _images(root: Path, folder: str) -> Iterator[str]:
    """Yield the files that look like images, by name; what they really hold shows when they are decoded."""
    if (root / folder).is_dir():
        for path in sorted((root / folder).iterdir()):
            if path.suffix.lower() in _suffixes() and not path.name.startswith("."):
                yield f"{folder}/{path.name}"


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)
