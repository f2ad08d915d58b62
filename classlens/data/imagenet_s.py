"""ImageNet-S in its official layout, see docs/config.md for the folders.

root/ImageNetS919/{validation,test}/<class id>/*.JPEG            evaluation and training images
root/ImageNetS919/validation-segmentation/<class id>/*.png       masks
root/ImageNetS919/LOC_synset_mapping.txt                         line number = class index
root/ImageNetS919/{validation,test}_stim_info.csv                optional: fixes the choice of images
root/data/categories/ImageNetS_categories_im919.txt              line number + 1 = category in masks
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classlens.data.stimulus import Stimulus
from classlens.data.text import read_text
from classlens.errors import InputError

log = logging.getLogger(__name__)

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
            found += _from_stim_info(root, stim_info, split, index_of, names, set(dataset["exclude_classes"]))
        else:
            found += _from_folders(root, partition, split, index_of, names, dataset, name)
    return found


def categories(root: Path | str, name: str = "NAME") -> list[str]:
    """Return the class ids in the order in which masks number them, from 1."""
    path = Path(root) / "data" / "categories" / "ImageNetS_categories_im919.txt"
    return _lines(path, name)


def class_count(dataset: Mapping[str, Any], name: str = "NAME") -> int:
    """Return the number of classes of ImageNet, which class indices come from."""
    return len(_lines(_root(dataset, name) / FOLDER / "LOC_synset_mapping.txt", name))


def has_masks(_dataset: Mapping[str, Any]) -> bool:
    """Every evaluation image has one."""
    return True


def raw_images(dataset: Mapping[str, Any], chosen: Sequence[Stimulus], _name: str) -> list[str]:
    """Return the files of the chosen images."""
    return [str(image_path(dataset["root"], item.file)) for item in chosen]


def raw_masks(dataset: Mapping[str, Any], chosen: Sequence[Stimulus], name: str) -> list[str]:
    """Return the files of the chosen images' masks.

    Raises:
        InputError: an image has none.
    """
    return [str(mask_path(dataset["root"], item.file, name)) for item in chosen]


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
        return [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise InputError(f"datasets.{name}.root: {path} is missing; the layout is that of ImageNet-S") from error


def _from_folders(
    root: Path,
    partition: str,
    split: str,
    index_of: Mapping[str, int],
    names: Mapping[str, str],
    dataset: Mapping[str, Any],
    name: str,
) -> Iterator[Stimulus]:
    for class_id in categories(root, name):
        if class_id in dataset["exclude_classes"]:  # need not be on the disk
            continue
        if class_id not in index_of:
            raise InputError(f"datasets.{name}: class {class_id} of the categories is not in LOC_synset_mapping.txt")
        folder = root / FOLDER / partition / class_id
        images = sorted(folder.glob("*.JPEG"))
        if not images and split == "evaluation":  # only probes and training need the others
            if dataset["too_few"] == "error":
                raise InputError(
                    f"datasets.{name}.root: the folder {folder} is missing or without images; unpack class {class_id}, "
                    f"leave it out by exclude_classes, or set too_few: skip"
                )
            log.warning("datasets.%s: skipped, because %s is missing or without images", name, folder)
        for path in images:
            file = f"{partition}/{class_id}/{path.name}"
            yield Stimulus(split, index_of[class_id], class_id, names[class_id], file)


def _from_stim_info(
    root: Path,
    stim_info: Path,
    split: str,
    index_of: Mapping[str, int],
    names: Mapping[str, str],
    excluded: Collection[str],
) -> Iterator[Stimulus]:
    base = root / FOLDER / PARTITIONS[split]
    with io.StringIO(read_text(stim_info)) as table:
        for number, row in enumerate(csv.DictReader(table), start=2):
            where = f"{stim_info}, line {number}"
            try:
                class_id, image, index = row["imagenet_id"], row["img_name"], int(row["index"])
                path = base / class_id / image
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{where}: imagenet_id, img_name and index (a whole number) are needed; correct header or row"
                ) from error
            if class_id in excluded:
                continue
            # By name, not where links lead: folders of images are often links to a shared copy.
            if path.parts[len(base.parts) :] != (class_id, image) or ".." in (class_id, image):
                raise InputError(f"{where}: {class_id}/{image} leads out of the data set; correct the row")
            if not path.is_file():
                raise InputError(f"{where}: there is no image {path}; restore it or remove the row")
            if index_of.get(class_id) != index:
                raise InputError(
                    f"{where}: {class_id} has the index {index}, but line {index_of.get(class_id)} (from 0) "
                    f"in LOC_synset_mapping.txt; correct one of them"
                )
            yield Stimulus(split, index, class_id, names[class_id], f"{PARTITIONS[split]}/{class_id}/{image}")
