"""Images in one folder, of which a table says the classes: labels.csv with the columns image and class."""

from __future__ import annotations

import csv
from collections.abc import Set
from functools import cached_property
from pathlib import Path

from classlens.data.class_folders import SUFFIXES, content_of
from classlens.data.classes import CLASSES, read_classes
from classlens.data.raw import is_plain_name, read_text, require_text
from classlens.errors import InputError

LABELS = "labels.csv"
COLUMNS = ("image", "class")
MOST_NAMED = 5


class LabelledImages:
    """A folder of images with labels.csv, asked as `ClassFolders` is. It reads nothing before it is asked.

    Args:
        root: the folder.
        name: of the data set in the config, for messages.
        suffixes: of images, in lower case.
    """

    def __init__(self, root: Path, name: str, suffixes: Set[str] = SUFFIXES) -> None:
        self.root, self._table, self._where = root, root / LABELS, f"datasets.{name}.root"
        self._suffixes = suffixes
        self.splits: dict[str, str] = {}

    @cached_property
    def _classes(self) -> dict[str, str]:
        """Class by image, as the table has them.

        Raises:
            InputError: the table cannot be read, names an image that is not there, or gives one several classes.
        """
        reader = csv.DictReader(read_text(self._table).splitlines())
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise InputError(f"{self._table} has no column {' and '.join(missing)}; its header is to be image,class")
        found: dict[str, str] = {}
        for row in reader:
            image, class_id, line = (row["image"] or "").strip(), (row["class"] or "").strip(), reader.line_num
            if not is_plain_name(image) or not (self.root / image).is_file():
                raise InputError(f"{self._table}, line {line}: there is no image {image!r} in {self.root}; correct it")
            if not class_id:
                raise InputError(f"{self._table}, line {line}: {image} has no class; add it, or remove the line")
            require_text(class_id)
            if (other := found.setdefault(image, class_id)) != class_id:
                raise InputError(
                    f"{self._table}, line {line}: {image} has several classes ({other}, {class_id}), but a run looks "
                    f"at one class of an image; give it as separate images, a row and a file name each (copies or "
                    f"links), or look at it with classlens.Lens, which takes any class of an image"
                )
        if not found:
            raise InputError(f"{self._table} names no image; add a line per image")
        return found

    @cached_property
    def names(self) -> dict[str, str]:
        """Names of classes by id, in the order of their indices: that of classes.txt, else sorted."""
        classes = sorted(set(self._classes.values()))
        return read_classes(self.listed, classes) if self.listed.is_file() else {one: one for one in classes}

    @property
    def listed(self) -> Path:
        """Where the user may list classes."""
        return self.root / CLASSES

    def images(self, class_id: str, _split: str) -> list[str]:
        """Return a class's images, in sorted order."""
        return sorted(image for image, own in self._classes.items() if own == class_id)

    def without_images(self) -> dict[str, str]:
        """Return no class: the table names those alone that have images."""
        return {}

    def notes(self) -> list[str]:
        """Return what the table is taken for."""
        return [f"{LABELS} says the classes of {len(self._classes):,} images"]

    def doubts(self) -> list[str]:
        """Return which images the table passes over."""
        others = [image for image in content_of(self.root, self._suffixes).images if image not in self._classes]
        named = ", ".join(sorted(others)[:MOST_NAMED]) + (", ..." if len(others) > MOST_NAMED else "")
        return [f"{self._where}: {LABELS} does not name {len(others):,} images: {named}"] if others else []
