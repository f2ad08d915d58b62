"""Images in folders of two levels: their class, and something else that they carry, in either order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from functools import cached_property
from pathlib import Path

from classlens.data.class_folders import content_of, is_system
from classlens.data.classes import ClassesOfImages, find_splits
from classlens.data.raw import require_text
from classlens.errors import InputError

CLASS, FOLDER = "class", "folder"
"""What a level may be, in the config's `group_by`."""


class NestedFolders(ClassesOfImages):
    """A folder of such folders, or of a folder of these per split; `order` is what the two levels are."""

    def __init__(self, root: Path, name: str, suffixes: Set[str], order: Sequence[str]) -> None:
        super().__init__(root, name, suffixes)
        self._order = list(order)

    @cached_property
    def splits(self) -> dict[str, str]:
        """The folders of splits, by split; none where there are not both."""
        found = find_splits(content_of(self.root, self._suffixes).folders)
        return found if len(found) == 2 else {}

    @cached_property
    def _found(self) -> dict[tuple[str, str], tuple[str, list[str]]]:
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for parent in self.splits.values() or ("",):
            for upper in self._inside(parent):
                for lower in self._inside(folder := f"{parent}/{upper}".lstrip("/")):
                    images = content_of(self.root / folder / lower, self._suffixes).images
                    own = (upper, lower)[self._order.index(CLASS)]
                    require_text(own)
                    found[parent, own] += [f"{folder}/{lower}/{image}" for image in images]
        if not any(found.values()):
            raise InputError(
                f"{self._where}: {self.root} has no images in folders of two levels, {' and '.join(self._order)}; "
                f"sort them so, or remove group_by"
            )
        return {key: ("", sorted(images)) for key, images in found.items() if images}

    def _inside(self, folder: str) -> list[str]:
        return [name for name in content_of(self.root / folder, self._suffixes).folders if not is_system(name)]

    def notes(self) -> list[str]:
        """Return what folders are taken for."""
        level = dict(zip(self._order, ("upper", "lower"), strict=True))
        return [f"the {level[CLASS]} folders are classes, the {level[FOLDER]} ones what images carry beside (group_by)"]

    def doubts(self) -> list[str]:
        """Return which images lie beside the folders of the lower level."""
        counts = Counter[str]()
        for parent in self.splits.values() or ("",):
            for folder in (parent, *(f"{parent}/{upper}".lstrip("/") for upper in self._inside(parent))):
                counts[folder or "."] += len(content_of(self.root / folder, self._suffixes).images)
        named = [folder for folder, count in counts.items() if count]
        text = f"{self._where}: {counts.total():,} images lie above the lower folders and are passed over: {named[:5]}"
        return [text] if named else []
