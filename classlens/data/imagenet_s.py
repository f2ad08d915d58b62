"""ImageNet-S in its official layout, see docs/config.md for the folders.

root/ImageNetS919/{validation,test}/<class id>/*.JPEG            evaluation and training images
root/ImageNetS919/validation-segmentation/<class id>/*.png       masks
root/ImageNetS919/LOC_synset_mapping.txt                         line number = class index
root/ImageNetS919/{validation,test}_stim_info.csv                optional: fixes the choice of images
root/data/categories/ImageNetS_categories_im919.txt              line number + 1 = category in masks
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

FOLDER = "ImageNetS919"
PARTITIONS = {"evaluation": "validation", "training": "test"}
MASKS = "validation-segmentation"
IGNORE = 1000
"""Category of pixels that belong to no label."""


def stimuli(dataset: Mapping[str, Any], name: str) -> list[Stimulus]:
    """Return all images, class by class in the order of the categories file, or in that of the stim_info files.

    Raises:
        InputError: a file or folder is missing, or stim_info names what is not in the data set.
    """
    root = _root(dataset, name)
    index_of, names = _synsets(root, name)
    found: list[Stimulus] = []
    for split, partition in PARTITIONS.items():
        stim_info = root / FOLDER / f"{partition}_stim_info.csv"
        if stim_info.is_file():
            found += _from_stim_info(root, stim_info, split, index_of, names)
        else:
            found += _from_folders(root, partition, split, index_of, names, name)
    return found


def categories(root: Path | str, name: str = "NAME") -> list[str]:
    """Return the class ids in the order in which masks number them, from 1."""
    path = Path(root) / "data" / "categories" / "ImageNetS_categories_im919.txt"
    return _lines(path, name)


def class_count(dataset: Mapping[str, Any], name: str = "NAME") -> int:
    """Return the number of classes of ImageNet, which class indices come from."""
    return len(_lines(_root(dataset, name) / FOLDER / "LOC_synset_mapping.txt", name))


def image_path(root: Path | str, file: str) -> Path:
    """Return where an image of the table lies."""
    return Path(root) / FOLDER / file


def mask_path(root: Path | str, file: str, name: str = "NAME") -> Path:
    """Return where an image's mask lies.

    Raises:
        InputError: it does not exist.
    """
    _, class_id, image = Path(file).parts
    path = Path(root) / FOLDER / MASKS / class_id / Path(image).with_suffix(".png")
    if not path.is_file():
        raise InputError(
            f"datasets.{name}: {file} has no mask {path}; restore it, or leave its class out by exclude_classes"
        )
    return path


def _root(dataset: Mapping[str, Any], name: str) -> Path:
    root = Path(dataset["root"])
    if not root.is_dir():
        raise InputError(f"datasets.{name}.root: there is no folder {root}; point it to the one that holds {FOLDER}")
    return root


def _synsets(root: Path, name: str) -> tuple[dict[str, int], dict[str, str]]:
    index_of, names = {}, {}
    for index, line in enumerate(_lines(root / FOLDER / "LOC_synset_mapping.txt", name)):
        class_id, _, text = line.partition(" ")
        index_of[class_id], names[class_id] = index, text
    return index_of, names


def _lines(path: Path, name: str) -> list[str]:
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise InputError(f"datasets.{name}.root: {path} is missing; the layout is that of ImageNet-S") from error


def _from_folders(
    root: Path, partition: str, split: str, index_of: Mapping[str, int], names: Mapping[str, str], name: str
) -> Iterator[Stimulus]:
    for class_id in categories(root, name):
        if class_id not in index_of:
            raise InputError(f"datasets.{name}: class {class_id} of the categories is not in LOC_synset_mapping.txt")
        folder = root / FOLDER / partition / class_id
        if not folder.is_dir():
            if split == "training":  # only probes and training need these
                continue
            raise InputError(f"datasets.{name}.root: the folder {folder} is missing; unpack class {class_id}")
        for path in sorted(folder.glob("*.JPEG")):
            file = f"{partition}/{class_id}/{path.name}"
            yield Stimulus(split, index_of[class_id], class_id, names[class_id], file)


def _from_stim_info(
    root: Path, stim_info: Path, split: str, index_of: Mapping[str, int], names: Mapping[str, str]
) -> Iterator[Stimulus]:
    base = (root / FOLDER / PARTITIONS[split]).resolve()
    with stim_info.open(newline="") as table:
        for number, row in enumerate(csv.DictReader(table), start=2):
            class_id, image = row["imagenet_id"], row["img_name"]
            where = f"{stim_info}, line {number}"
            path = base / class_id / image
            if path.resolve().parent.parent != base:
                raise InputError(f"{where}: {class_id}/{image} leads out of the data set; correct the row")
            if not path.is_file():
                raise InputError(f"{where}: there is no image {path}; restore it or remove the row")
            if index_of.get(class_id) != int(row["index"]):
                raise InputError(
                    f"{where}: {class_id} has the index {row['index']}, but line {index_of.get(class_id)} (from 0) "
                    f"in LOC_synset_mapping.txt; correct one of them"
                )
            yield Stimulus(
                split, int(row["index"]), class_id, names[class_id], f"{PARTITIONS[split]}/{class_id}/{image}"
            )
