"""Images in one folder per class, with optional masks.

root/<class>/*              the first per_class images are for evaluation, the next for training
root/validation/<class>/*   instead, together with root/train/<class>/*: for evaluation, for training
root/classes.txt            optional: line number = class index, each line a class folder and, after a space, its name;
                            without it folders count in sorted order
masks/<class>/<stem>.png    optional: non-zero is class; also below validation/ if the images are
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from classlens.data.classes import CLASSES, read_classes
from classlens.data.mask import CLASS, CONTEXT, Mask
from classlens.data.raw import ImageFiles, is_plain_name, require_text
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

PARTITIONS = {"evaluation": "validation", "training": "train"}
OPENED = """
.apng .avif .avifs .blp .bmp .bufr .bw .cur .dcx .dds .dib .emf .eps .fit .fits .flc .fli .ftc .ftu .gbr .gif .grib .h5
.hdf .icb .icns .ico .iim .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpeg .mpg .msp .pbm .pcd .pcx .pfm
.pgm .png .pnm .ppm .ps .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .vda .vst .webp .wmf .xbm .xpm
"""
SUFFIXES = frozenset(OPENED.split())
"""Of what Pillow opens; listing images needs no Pillow."""


class ImageFolder(ImageFiles):
    """A folder of images; pixels of a mask that are not zero are class."""

    takes_masks = True
    without_masks = "there are no masks; name a folder of PNG masks with the key masks"
    holds = "the classes"

    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return all images, class by class, each class's in sorted order."""
        return [
            Stimulus(split, index, class_id, text, file)
            for index, (class_id, text) in enumerate(self._class_names().items())
            for split, files in self._splits(class_id, selection["per_class"]).items()
            for file in files
        ]

    def class_count(self) -> int:
        """Return the number of classes that are listed, or have a folder."""
        return len(self._class_names())

    @property
    def more_training(self) -> str:
        """How a class gets more training images."""
        if self._is_split():
            return f"add images to {PARTITIONS['training']}/"
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
        path = next((place for place in places[: 2 if len(relative.parts) > 2 else 1] if place.is_file()), None)
        if path is None:
            raise InputError(
                f"datasets.{self.name}.masks: {file} has no mask {places[0]}; add it, or remove the key masks"
            )
        return path

    def decode_mask(self, content: bytes, file: str) -> Mask:
        """Decode the mask file."""
        import numpy as np  # for decoding alone, as Pillow

        from classlens.data.images import open_nonzero

        return np.where(open_nonzero(content, self.mask_path(file)), CLASS, CONTEXT).astype(np.uint8)

    def _is_split(self) -> bool:
        return all((self.root / partition).is_dir() for partition in PARTITIONS.values())

    def _class_names(self) -> dict[str, str]:
        """Return class folders and their names, by index."""
        self.require_root()
        folders = [self.root / partition for partition in PARTITIONS.values()] if self._is_split() else [self.root]
        present = sorted({path.name for folder in folders for path in folder.iterdir() if _is_class(path)})
        for class_id in present:
            require_text(class_id)
        if not present:
            raise InputError(
                f"datasets.{self.name}.root: {self.root} has no folders of classes; put each class's images into one"
            )
        listed = self.root / CLASSES
        if not listed.is_file():
            return {class_id: class_id for class_id in present}
        names = read_classes(listed)
        for class_id in names:
            if not is_plain_name(class_id):
                raise InputError(f"{listed}: {class_id} is not the plain name of a folder; correct the line")
        unlisted = [class_id for class_id in present if class_id not in names]
        if unlisted:
            raise InputError(f"{listed} lacks the class folders {', '.join(unlisted[:5])}; add a line for each")
        return names

    def _splits(self, class_id: str, per_class: int | None) -> dict[str, list[str]]:
        if self._is_split():
            return {split: list(self._images(f"{partition}/{class_id}")) for split, partition in PARTITIONS.items()}
        files = list(self._images(class_id))
        count = len(files) if per_class is None else per_class
        return {"evaluation": files[:count], "training": files[count:]}

    def _images(self, folder: str) -> Iterator[str]:
        """Yield the files that look like images, by name; what they really hold shows when they are decoded."""
        if (self.root / folder).is_dir():
            # Entries of a scan know what is a folder; asking the disk about every file takes long on a network.
            for entry in sorted(os.scandir(self.root / folder), key=lambda entry: entry.name):
                suffix = Path(entry.name).suffix.lower()
                if suffix in SUFFIXES and not entry.name.startswith(".") and not entry.is_dir():
                    yield f"{folder}/{entry.name}"


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
