"""Images below one folder, of which a table says the classes.

It is labels.csv in that folder with the columns image and class, or whatever the config's `labels` names: a table with
any names of columns, one of which may tell the splits apart.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Set
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from classlens.data.class_folders import content_of
from classlens.data.classes import ClassesOfImages
from classlens.data.raw import is_plain_name, read_text, require_text
from classlens.data.stimulus import SPLITS
from classlens.errors import InputError

LABELS = "labels.csv"
MOST_NAMED = 5


class LabelledImages(ClassesOfImages):
    """A folder of images with a table, as `labels` of the data set's section of the config says; None: labels.csv."""

    def __init__(self, root: Path, name: str, suffixes: Set[str], labels: Mapping[str, Any] | None) -> None:
        super().__init__(root, name, suffixes)
        self._told = labels or {"table": None, "image": "image", "class": "class", "split": None}
        self._named: set[str] = set()
        """Images that the table names, those of no split, too."""
        self._table = Path(self._told["table"] or root / LABELS)

    @cached_property
    def splits(self) -> dict[str, str]:
        """The values of the split's column, by split."""
        values = {split: self._told.get(split) for split in SPLITS} if self._told["split"] else {}
        return {split: value for split, value in values.items() if value is not None}

    @cached_property
    def _rows(self) -> dict[str, tuple[str, str]]:
        """Class and value of the split's column ("" without one) by image, as the table has them.

        Raises:
            InputError: the table cannot be read, names an image that is not there, or gives one several classes.
        """
        reader = csv.DictReader(read_text(self._table).splitlines())
        columns = [self._told[key] for key in ("image", "class", "split") if self._told[key]]
        if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
            raise InputError(
                f"{self._table} has no column {' and '.join(missing)}; its header is to have {','.join(columns)}"
            )
        found: dict[str, tuple[str, str]] = {}
        for row in reader:
            image, class_id, *split = ((row[column] or "").strip() for column in columns)
            line = reader.line_num
            steps = PurePosixPath(image).parts
            self._named.add(image := "/".join(steps))
            if self.splits and split[0] not in self.splits.values():
                continue
            if not all(map(is_plain_name, steps)) or not steps or not (self.root / image).is_file():
                raise InputError(f"{self._table}, line {line}: there is no image {image!r} in {self.root}; correct it")
            if not class_id:
                raise InputError(f"{self._table}, line {line}: {image} has no class; add it, or remove the line")
            require_text(class_id)
            other, of = found.setdefault(image, (class_id, split[0] if split else ""))
            if split and of != split[0]:
                raise InputError(
                    f"{self._table}, line {line}: {image} is of two splits ({of}, {split[0]}); images for training "
                    f"are none for evaluation, take one line away"
                )
            if other != class_id:
                raise InputError(
                    f"{self._table}, line {line}: {image} has several classes ({other}, {class_id}), but a run looks "
                    f"at one class of an image; give it as separate images, a row and a file name each (copies or "
                    f"links), or look at it with classlens.Lens, which takes any class of an image"
                )
        if not found:
            raise InputError(f"{self._table} names no image{self._of_splits()}; add a line per image")
        return found

    @cached_property
    def _found(self) -> dict[tuple[str, str], tuple[str, list[str]]]:
        found: dict[tuple[str, str], tuple[str, list[str]]] = defaultdict(lambda: ("", []))
        for image, (class_id, value) in sorted(self._rows.items()):
            found[value if self.splits else "", class_id][1].append(image)
        return found

    def notes(self) -> list[str]:
        """Return what the table is taken for."""
        return [f"{self._table.name} says the classes of {len(self._rows):,} images{self._of_splits()}"]

    def _of_splits(self) -> str:
        return "".join(f", {split}: {self._told['split']} {value}" for split, value in self.splits.items())

    def doubts(self) -> list[str]:
        """Return which images the table passes over."""
        found = content_of(self.root, self._suffixes).images if self._rows else []
        others = [image for image in found if image not in self._named]
        named = ", ".join(sorted(others)[:MOST_NAMED]) + (", ..." if len(others) > MOST_NAMED else "")
        return [f"{self._where}: {self._table.name} does not name {len(others):,} images: {named}"] if others else []
