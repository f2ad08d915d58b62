"""Images in one folder per class, with optional masks.

root/<class>/*              the first per_class images are for evaluation, the next for training
root/validation/<class>/*   instead, together with root/train/<class>/*: for evaluation, for training; see
                            `classlens.data.classes` for other names
root/*, root/labels.csv     instead: a table with the columns image and class, see `classlens.data.labelled`
root/*/*.npy, .tif          instead of pictures, where the config says `channels`; see `classlens.data.bands`
root/<class>/<folder>/*     instead, with `group_by: [class, folder]`, or root/<folder>/<class>/* with [folder, class],
                            also below the folders of splits; see `classlens.data.nested`
root/classes.txt            optional: the order of classes, see `classlens.data.classes`; without it folders count in
                            sorted order
masks/<class>/<stem>.png    optional: non-zero is class; also below validation/ if the images are, and without <class>/
                            where a table says the classes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from classlens.data.class_folders import SUFFIXES, ClassFolders
from classlens.data.labelled import LABELS, LabelledImages
from classlens.data.mask import Mask
from classlens.data.nested import FOLDER, NestedFolders
from classlens.data.raw import ImageFiles
from classlens.data.stimulus import SPLITS, Stimulus
from classlens.errors import InputError

ARRAYS = frozenset((".npy", ".tif", ".tiff"))
"""Of images of any number of channels."""


class ImageFolder(ImageFiles):
    """A folder of images; pixels of a mask that are not zero are class."""

    takes_masks = takes_channels = True
    arranged_by = ("labels", "group_by")
    without_masks = "there are no masks; name a folder of PNG masks with the key masks"
    holds = "the classes"

    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return all images, class by class, each class's in sorted order."""
        return [
            Stimulus(split, index, class_id, text, file)
            for index, (class_id, text) in enumerate(self._folders.names.items())
            for split, files in self._splits(class_id, selection["per_class"]).items()
            for file in files
        ]

    def class_ids(self) -> list[str]:
        """Return the classes that are listed, or have a folder that is not empty."""
        return list(self._folders.names)

    @property
    def listed(self) -> bool:
        """Whether classes.txt says the order of classes."""
        return self._folders.listed.is_file()

    def wnids(self) -> list[str]:
        """Return the folders' names, where no list says their order."""
        return [] if self.listed else self.class_ids()

    def without_images(self) -> dict[str, str]:
        """Return the classes whose folder holds something, but no image that is read."""
        return self._folders.without_images()

    def notes(self) -> list[str]:
        """Return which folders are taken for what."""
        return self._folders.notes()

    def doubts(self, selection: Mapping[str, Any]) -> list[str]:
        """Return what is doubtful about names, order and what is passed over."""
        return [*self._folders.doubts(), *super().doubts(selection)]

    @property
    def carries(self) -> tuple[str, ...]:
        """The name of the folder beside the class's, where the config says that there is one."""
        return (FOLDER,) if "group_by" in self.arrangement else ()

    def attributes(self, files: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
        """Return the folder that images lie in, beside their class's."""
        if tuple(names) != self.carries:
            return super().attributes(files, names)
        step = self.arrangement["group_by"].index(FOLDER)
        return {FOLDER: [Path(file).parts[-3:-1][step] for file in files]}

    @property
    def more_training(self) -> str:
        """How a class gets more training images."""
        if "labels" in self.arrangement:
            return "add lines to the table of labels, or lower per_class (see docs/data.md)"
        if self._folders.splits:
            return f"add images to {self._folders.splits['training']}/"
        return "lower per_class: training images are those that it leaves of a folder (see docs/data.md)"

    @property
    def has_masks(self) -> bool:
        """Whether the config names a folder of masks."""
        return bool(self.mask_root)

    def mask_path(self, file: str) -> Path:
        """Return where an image's mask lies."""
        if not self.mask_root:
            raise self.no_masks()
        relative = Path(file).with_suffix(".png")
        places = [Path(self.mask_root) / relative, Path(self.mask_root).joinpath(*relative.parts[1:])]
        levels = 3 if "group_by" in self.arrangement else 2
        in_split = len(relative.parts) > levels and "labels" not in self.arrangement
        path = next((place for place in places[: 2 if in_split else 1] if place.is_file()), None)
        if path is None:
            raise InputError(
                f"datasets.{self.name}.masks: {file} has no mask {places[0]}; add it, or remove the key masks"
            )
        return path

    def decode_mask(self, content: bytes, file: str) -> Mask:
        """Decode the mask file."""
        from classlens.data.images import open_nonzero  # Pillow is for decoding alone

        return open_nonzero(content, self.mask_path(file))

    @cached_property
    def _folders(self) -> ClassFolders | LabelledImages | NestedFolders:
        self.require_root()
        place = self.root, self.name, ARRAYS if self.channels else SUFFIXES
        if order := self.arrangement.get("group_by"):
            return NestedFolders(*place, order)
        labels = self.arrangement.get("labels")
        return LabelledImages(*place, labels) if labels or (self.root / LABELS).is_file() else ClassFolders(*place)

    def _splits(self, class_id: str, per_class: int | None) -> dict[str, list[str]]:
        if self._folders.splits:
            return {split: self._folders.images(class_id, split) for split in SPLITS}
        files = self._folders.images(class_id, "")
        count = len(files) if per_class is None else per_class
        return {"evaluation": files[:count], "training": files[count:]}
