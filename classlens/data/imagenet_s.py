"""ImageNet-S in its official layout, see docs/data.md for the folders.

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
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from classlens.data.mask import CLASS, CONTEXT, IGNORE, Mask
from classlens.data.raw import LONGEST_NAME, ImageFiles, is_plain_name, read_text
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

log = logging.getLogger(__name__)

FOLDER = "ImageNetS919"
PARTITIONS = {"evaluation": "validation", "training": "test"}
MASKS = "validation-segmentation"
SYNSETS = "LOC_synset_mapping.txt"
CATEGORIES = "ImageNetS_categories_im919.txt"
UNLABELLED = 1000
"""Category of pixels that belong to no label."""


class ImageNetS(ImageFiles):
    """Image files and category masks of ImageNet-S."""

    has_masks = True
    holds = FOLDER
    published = (
        "ImageNet-1k: https://image-net.org/download.php, after you accept its terms",
        f"{SYNSETS}: with the ImageNet files of https://www.kaggle.com/c/imagenet-object-localization-challenge/data",
        "ImageNet-S: https://github.com/LUSSeg/ImageNet-S; its datapreparation/datapreparation_val.py sorts images "
        "out of your ImageNet-1k, datapreparation_anno.sh downloads masks, data/categories is part of the repository",
    )

    @property
    def folder(self) -> Path:
        """Where the file names of stimuli.csv start."""
        return self.root / FOLDER

    def layout(self) -> dict[Path, str]:
        """Return what must be there."""
        return {
            self.folder / PARTITIONS["evaluation"]: "evaluation images, in a folder per class",
            self.folder / PARTITIONS["training"]: "training images, in a folder per class",
            self.folder / MASKS: "masks of the evaluation images",
            self.folder / SYNSETS: "ids and names of ImageNet's classes",
            self._categories_file: "the classes in the order of their numbers in masks",
        }

    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return all images, class by class in the order of the categories file, or in that of the stim_info files."""
        classes = {class_id: (index, text) for index, (class_id, text) in enumerate(self._synsets())}
        found: list[Stimulus] = []
        for split in PARTITIONS:
            stim_info = self.folder / f"{PARTITIONS[split]}_stim_info.csv"
            if stim_info.is_file():
                found += self._from_stim_info(stim_info, split, classes, selection)
            else:
                found += self._from_folders(split, classes, selection)
        return found

    def class_ids(self) -> list[str]:
        """Return the ids of ImageNet's classes, which class indices come from."""
        return [class_id for class_id, _ in self._synsets()]

    def mask_path(self, file: str) -> Path:
        """Return where an image's mask lies."""
        _, class_id, image = Path(file).parts
        path = self.folder / MASKS / class_id / Path(image).with_suffix(".png")
        if not path.is_file():
            raise InputError(
                f"datasets.{self.name}: {file} has no mask {path}; restore it, or leave its class out by "
                f"exclude_classes"
            )
        return path

    def mask_content(self, file: str, class_id: str) -> bytes:
        """Return the number that the mask file gives the class, a space, and the mask file."""
        if class_id not in self._category:
            raise InputError(
                f"{file}: masks have no number for {class_id}, because {CATEGORIES} lacks it; leave it out by "
                f"exclude_classes"
            )
        return b"%d " % self._category[class_id] + super().mask_content(file, class_id)

    def decode_mask(self, content: bytes, file: str) -> Mask:
        """Decode the mask file: a pixel's category is R + 256 G."""
        import numpy as np  # for decoding alone, as Pillow

        from classlens.data.images import open_mask

        own, _, encoded = content.partition(b" ")
        channels = open_mask(encoded, self.mask_path(file)).astype(np.uint16)
        category = channels[..., 0] + 256 * channels[..., 1]
        mask = np.where(category == int(own), CLASS, CONTEXT)
        return np.where(category == UNLABELLED, IGNORE, mask).astype(np.uint8)

    def categories(self) -> list[str]:
        """Return the class ids in the order in which masks number them, from 1."""
        return self._lines(self._categories_file)

    @property
    def _categories_file(self) -> Path:
        return self.root / "data" / "categories" / CATEGORIES

    @cached_property
    def _category(self) -> dict[str, int]:
        return {class_id: number for number, class_id in enumerate(self.categories(), start=1)}

    def _synsets(self) -> list[tuple[str, str]]:
        """Return ids and names of ImageNet's classes."""
        self.require_root()
        lines = (line.partition(" ") for line in self._lines(self.folder / SYNSETS))
        return [(class_id, text) for class_id, _, text in lines]

    def _lines(self, path: Path) -> list[str]:
        if not path.is_file():
            raise InputError(f"datasets.{self.name}.root: {path} is missing; the layout is that of ImageNet-S")
        return [line.strip() for line in read_text(path).splitlines() if line.strip()]

    def _from_folders(
        self, split: str, classes: Mapping[str, tuple[int, str]], selection: Mapping[str, Any]
    ) -> Iterator[Stimulus]:
        for class_id in self.categories():
            if class_id in selection["exclude_classes"]:  # need not be on the disk
                continue
            if class_id not in classes:
                raise InputError(
                    f"datasets.{self.name}: class {class_id} of the categories is not in LOC_synset_mapping.txt"
                )
            folder = self.folder / PARTITIONS[split] / class_id
            images = sorted(folder.glob("*.JPEG"))
            if not images and split == "evaluation":  # only probes and training need the others
                if selection["too_few"] == "error":
                    raise InputError(
                        f"datasets.{self.name}.root: the folder {folder} is missing or without images; unpack class "
                        f"{class_id}, leave it out by exclude_classes, or set too_few: skip"
                    )
                log.warning("datasets.%s: skipped, because %s is missing or without images", self.name, folder)
            index, text = classes[class_id]
            for path in images:
                yield Stimulus(split, index, class_id, text, f"{PARTITIONS[split]}/{class_id}/{path.name}")

    def _from_stim_info(
        self, stim_info: Path, split: str, classes: Mapping[str, tuple[int, str]], selection: Mapping[str, Any]
    ) -> Iterator[Stimulus]:
        for number, row in enumerate(_rows(stim_info), start=2):
            where = f"{stim_info}, line {number}"
            try:
                class_id, image, index = str(row["imagenet_id"]), row["img_name"], int(row["index"])
                file = f"{PARTITIONS[split]}/{class_id}/{image}"
                longest = max(len(os.fsencode(name)) for name in (class_id, image))
                plain = is_plain_name(class_id) and is_plain_name(image)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{where}: imagenet_id, img_name and index (a whole number) are needed; correct header or row"
                ) from error
            if class_id in selection["exclude_classes"]:
                continue
            if longest > LONGEST_NAME:
                raise InputError(f"{where}: a name of {longest:,} bytes; no file is called so, correct the row")
            # By name, not where links lead: folders of images are often links to a shared copy.
            if not plain:
                raise InputError(f"{where}: {class_id}/{image} leads out of the data set; correct the row")
            if not (self.folder / file).is_file():
                raise InputError(f"{where}: there is no image {self.folder / file}; restore it or remove the row")
            own, text = classes.get(class_id, (None, ""))
            if own != index:
                raise InputError(
                    f"{where}: {class_id} has the index {index}, but line {own} (from 0) in LOC_synset_mapping.txt; "
                    f"correct one of them"
                )
            yield Stimulus(split, index, class_id, text, file)


def _rows(stim_info: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from csv.DictReader(io.StringIO(read_text(stim_info), newline=None))
    except csv.Error as error:
        raise InputError(f"{stim_info} is no table ({error}); correct it") from None
