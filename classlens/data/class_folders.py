"""How images lie in folders of classes: splits, classes, and what is passed over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from classlens.data.classes import WORDS, ClassesOfImages, find_splits, unread_lists
from classlens.data.raw import entries, is_plain_name, require_text
from classlens.data.source import composed
from classlens.errors import InputError

OPENED = """
.apng .avif .avifs .blp .bmp .bufr .bw .cur .dcx .dds .dib .emf .eps .fit .fits .flc .fli .ftc .ftu .gbr .gif .grib .h5
.hdf .icb .icns .ico .iim .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpeg .mpg .msp .pbm .pcd .pcx .pfm
.pgm .png .pnm .ppm .ps .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .vda .vst .webp .wmf .xbm .xpm
"""
SUFFIXES = frozenset(OPENED.split())
"""Of what Pillow opens; listing images needs no Pillow."""
SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "lost+found", "__pycache__", "$recycle.bin", "system volume information")
)
"""What systems put beside the user's folders, in lower case; no class."""
SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini"))
NO_CLASSES = """
annotation annotations bbox bboxes image images img imgs label labels mask masks segmentation segmentations thumb
thumbnail thumbnails thumbs unlabeled unlabelled
"""
PARTS = frozenset(NO_CLASSES.split()).union(*WORDS.values())
"""Names of folders that hold parts of a data set rather than a class, in lower case."""
NUMBERED = re.compile(r"(\D*)(\d+)(.*)", re.DOTALL)
MOST_NAMED = 5


@dataclass
class Content:
    """What lies in a folder, hidden things left out.

    Attributes:
        images: files that look like images, by name; what they really hold shows when they are decoded.
        others: number of other files by suffix.
        folders: by name.
        broken: links that lead nowhere, other than to images.
    """

    images: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.images or self.others or self.folders)


class ClassFolders(ClassesOfImages):
    """A folder of class folders, or of a folder of these per split."""

    @cached_property
    def splits(self) -> dict[str, str]:
        """The folders of splits, by split; none where classes share a folder each.

        Raises:
            InputError: a split has no folders of classes, or no other split beside it.
        """
        found = find_splits(self._top.folders)
        sorted_into = {folder: content_of(self.root / folder, self._suffixes) for folder in found.values()}
        for folder, content in sorted_into.items():
            if len(found) == 2 and not content.folders:
                other = self.root / self._other(found, folder)
                raise InputError(
                    f"{self._where}: {self.root / folder} has {len(content.images):,} images and no folders of "
                    f"classes; sort them into one per class, or point root to {other}, whose images are then split by "
                    f"number"
                )
            if len(found) == 1 and content.folders and not content.images:
                others = WORDS["training" if "evaluation" in found else "evaluation"]
                raise InputError(
                    f"{self._where}: {self.root} has {folder}/, but no {' or '.join(f'{other}/' for other in others)} "
                    f"beside it; add that, or point root to {self.root / folder}, whose images are then split by number"
                )
        return found if len(found) == 2 else {}

    @cached_property
    def names(self) -> dict[str, str]:
        """As of all; each id is the plain name of a folder."""
        names = super().names
        for class_id in names:
            if not is_plain_name(class_id):
                raise InputError(f"{self.listed}: {class_id} is not the plain name of a folder; correct the line")
        return names

    @cached_property
    def _found(self) -> dict[tuple[str, str], tuple[str, list[str]]]:
        if not self._spelled:
            raise InputError(f"{self._where}: {self.root} has no folders of classes; put each class's images into one")
        return {
            (parent, one): (f"{parent}/{name}".lstrip("/"), self._contents[parent][name].images)
            for one, own in self._spelled.items()
            for parent, name in own.items()
        }

    def without_images(self) -> dict[str, str]:
        """Return the classes whose evaluation folder holds something, but no image, each with what it holds."""
        parent = self.splits.get("evaluation", "")
        found = {class_id: self._contents[parent].get(own.get(parent, "")) for class_id, own in self._spelled.items()}
        return {one: _held(content) for one, content in found.items() if content and not content.images}

    def notes(self) -> list[str]:
        """Return which folders are taken for what."""
        if not self.splits:
            return []
        left = [f"{name}/" for name in self._top.folders if name not in self.splits.values()]
        taken = ", ".join(f"{split} images come from {folder}/" for split, folder in self.splits.items())
        return [taken + (f"; {_some(left)} {'is' if len(left) == 1 else 'are'} left alone" if left else "")]

    def doubts(self) -> list[str]:
        """Return what is doubtful, in a line each with the way out."""
        unlisted = [] if self.listed.is_file() else [*unread_lists(self.root, self.splits.values()), *self._order()]
        return [*unlisted, *self._names_of_parts(), *self._passed_over(), *self._in_one_split()]

    def _order(self) -> list[str]:
        """Return a doubt where people and programs would order folders otherwise."""
        ids = list(self.names)
        numbered = [match for match in map(NUMBERED.fullmatch, ids) if match]
        by_number = sorted(ids)
        if len(numbered) == len(ids) and len({match[1] for match in numbered}) == 1:
            by_number = [match[0] for match in sorted(numbered, key=lambda match: (int(match[2]), match[3]))]
        for other, why in ((by_number, "as numbers"), (sorted(ids, key=composed), "in Unicode's composed form")):
            if moved := [one for place, one in enumerate(other) if one != ids[place]]:
                return [
                    f"{self._where}: folders are sorted as text, so {moved[0]!r} has the class index "
                    f"{ids.index(moved[0])}; {why} it would have {other.index(moved[0])}; say which is meant in "
                    f"{self.listed}, a folder per line"
                ]
        return []

    def _names_of_parts(self) -> Iterator[str]:
        found = [one for one in self.names if one.casefold() in PARTS]
        if found and not self.listed.is_file():
            yield (
                f"{self._where}: {_some(found)} among the classes; where that is none, move it out of {self.root}, "
                f"else list all classes in {self.listed}"
            )

    def _passed_over(self) -> Iterator[str]:
        system = [name for content in self._parents.values() for name in content.folders if is_system(name)]
        if empty := [*self._empty, *system]:
            yield (
                f"{self._where}: folders {_some(empty)} are empty, or made by a system, and no classes: they have no "
                f"index; remove them, or fill them and run again"
            )
        contents = {
            f"{parent}/{name}".strip("/"): content
            for parent, folders in self._contents.items()
            for name, content in folders.items()
        }
        if others := sum((content.others for content in contents.values()), Counter[str]()):
            yield (
                f"{self._where}: {others.total():,} files of classes are passed over, since their suffixes are none of "
                f"an image's ({_counted(others)}); convert or rename images among them, or take them away"
            )
        if nested := [folder for folder, content in contents.items() if content.folders]:
            yield (
                f"{self._where}: folders inside of {_some(nested)} are passed over; move their images up, next to "
                f"their class's"
            )
        for parent, content in self._parents.items():
            if content.broken:
                yield (
                    f"{self._where}: links {_some(content.broken)} in {self.root / parent} lead nowhere; if they were "
                    f"classes, restore these, since others have their indices now; else remove them"
                )
            if count := len(content.images):
                yield (
                    f"{self._where}: {count:,} images in {self.root / parent} are in no class's folder, and are passed "
                    f"over; sort them into these, or move them away"
                )

    def _in_one_split(self) -> Iterator[str]:
        for split, parent in self.splits.items():
            other = self._other(self.splits, parent)
            if alone := [one for one, own in self._spelled.items() if own.keys() == {parent}]:
                near = {one.casefold() for one, own in self._spelled.items() if own.keys() == {other}}
                case = next((f" (upper and lower case of {one} differ)" for one in alone if one.casefold() in near), "")
                yield (
                    f"{self._where}: classes {_some(sorted(alone))} lie in {parent}/ ({split}) alone, not in "
                    f"{other}/{case}; add their folders there, or leave them out by exclude_classes"
                )

    @cached_property
    def _top(self) -> Content:
        return content_of(self.root, self._suffixes)

    @cached_property
    def _parents(self) -> dict[str, Content]:
        """The folders that hold those of classes, relative to the root."""
        return {name: content_of(self.root / name, self._suffixes) for name in self.splits.values()} or {"": self._top}

    @cached_property
    def _contents(self) -> dict[str, dict[str, Content]]:
        """What lies in each folder that may be a class's, by the folder that it lies in."""
        return {
            parent: {
                name: content_of(self.root / parent / name, self._suffixes)
                for name in content.folders
                if not is_system(name)
            }
            for parent, content in self._parents.items()
        }

    @property
    def _empty(self) -> list[str]:
        """Folders that hold nothing, in no spelling and no split."""
        every = [(name, content) for folders in self._contents.values() for name, content in folders.items()]
        used = {composed(name) for name, content in every if content}
        return sorted({name for name, _ in every if composed(name) not in used})

    @cached_property
    def _spelled(self) -> dict[str, dict[str, str]]:
        """Class ids, with the names of their folders by the folder that these lie in: empty ones are no class."""
        own: dict[str, dict[str, str]] = {}
        for parent, folders in self._contents.items():
            for name in folders:
                require_text(name)
                spelled = own.setdefault(composed(name), {})
                if parent in spelled:
                    raise InputError(
                        f"{self._where}: {self.root / parent} has two folders {name}, of the same letters in two forms "
                        f"of Unicode; put their images into one"
                    )
                spelled[parent] = name
        empty = {composed(name) for name in self._empty}
        return {
            # A class whose folders are spelled alike has their name.
            next(iter(spelled.values())) if len({*spelled.values()}) == 1 else one: spelled
            for one, spelled in own.items()
            if one not in empty
        }

    @staticmethod
    def _other(splits: dict[str, str], folder: str) -> str:
        return next(name for name in splits.values() if name != folder)


def content_of(folder: Path, suffixes: Set[str] = SUFFIXES) -> Content:
    """Look into a folder for images of some suffixes; hidden names are passed over."""
    found = Content()
    for entry in entries(folder):
        suffix = Path(entry.name).suffix.lower()
        if entry.name.startswith(".") or entry.name.casefold() in SYSTEM_FILES:
            continue
        if entry.is_dir():
            found.folders.append(entry.name)
        elif suffix in suffixes:
            found.images.append(entry.name)
        elif entry.is_symlink() and not Path(entry.path).exists():
            found.broken.append(entry.name)
        else:
            found.others[suffix] += 1
    return found


def is_system(name: str) -> bool:
    """Tell whether a folder is one that systems put beside the user's."""
    return name.casefold() in SYSTEM_FOLDERS


def _held(content: Content) -> str:
    if content.others:
        return f"0: its files are none that are read as images: {_counted(content.others)}"
    return f"0: it holds folders, such as {content.folders[0]}, and no images"


def _counted(suffixes: Counter[str]) -> str:
    return ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in suffixes.most_common(MOST_NAMED))


def _some(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
