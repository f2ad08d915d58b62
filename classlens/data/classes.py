"""How people name parts of data sets: folders of splits, and classes in a list beside images, classes.txt.

Its line number is the class index. A line is an id (an image folder's name) and, after a tab, a comma or a space, the
class's name; or the id alone. Where every line begins with a number before that, these are the class indices. Folders'
names may have spaces: a line is read as the folders that exist allow, and only at its first tab if any line has one.
"""

from __future__ import annotations

import csv
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from functools import cached_property
from pathlib import Path

from classlens.data.raw import entries, read_text
from classlens.data.source import composed
from classlens.errors import InputError

CLASSES = "classes.txt"
LIKE_A_LIST = re.compile(
    r"(class(es)?|class[-_ ]?(names|list|to[-_ ]?idx)|labels|id2label|synsets)\.(txt|csv|tsv|json)"
)
"""Names of files, in lower case, that other programs give such a list."""
INDEX = re.compile(r"(\d+)(?:\t|, ?| +)(?=\S)")
"""Before an id."""
HEADINGS = "category class class_id class_index class_name folder id idx index label name synset wnid"
HEADER = frozenset(HEADINGS.split())
"""Words of a table's first line."""
WORDS = {"evaluation": ("validation", "val", "valid", "eval", "test", "testing"), "training": ("train", "training")}
"""By split, the first one that is there; upper and lower case are one."""

Line = tuple[int, str]
"""Its number, from 1, and its text."""
Class = tuple[str, str]
"""Id and name."""


def find_splits(names: Iterable[str]) -> dict[str, str]:
    """Return which of some names stands for each split, where one does."""
    spelled: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name != name.casefold(), name)):
        spelled.setdefault(name.casefold(), name)
    best_last = [(split, word) for split, words in WORDS.items() for word in reversed(words)]
    return {split: spelled[word] for split, word in best_last if word in spelled}


def read_classes(path: Path, folders: Collection[str] = ()) -> dict[str, str]:
    """Return the names of classes by id, in the order of their indices.

    Args:
        path: the list.
        folders: that exist and must be listed; an id that is one of them is spelled as it is, in whatever form of
            Unicode. Without any, the id is the first word, and an index is an id, too.

    Raises:
        InputError: it cannot be read, names a class twice, lacks a folder, has indices other than 0..n-1, or can be
            read in two ways.
    """
    lines = [(number, text.strip()) for number, text in enumerate(read_text(path).splitlines(), 1) if text.strip()]
    own = {composed(folder): folder for folder in folders}
    indices = _indices(lines)
    permuted = indices is not None and sorted(indices) == list(range(len(lines)))
    if not own:
        found = _classes(path, lines, own)
        return _by_index(indices or [], found) if permuted else dict(found)
    if lines:
        _require_no_header(path, lines[0], own)
    for number, text in lines:
        if text.startswith("#") and not any(composed(text).startswith(folder) for folder in own):
            raise InputError(
                f"{path}: line {number} ({text!r}) is a comment, and would be class {number - 1}; remove it"
            )
    found, error = _of_folders(path, lines, own)
    if indices is not None:
        after_index, _ = _of_folders(path, [(number, INDEX.sub("", text, count=1)) for number, text in lines], own)
        if after_index and not found:
            _require_each_index(path, lines, indices)
            return _by_index(indices, after_index)
        if after_index and permuted and list(_by_index(indices, after_index)) != [one for one, _ in found]:
            raise _ambiguous(path, lines[0])
    if error:
        raise error
    last = [text for _, text in found]
    if (
        any(one != text for one, text in found)
        and last != (places := [str(place) for place in range(len(last))])
        and sorted(last) == sorted(places)
    ):
        raise InputError(
            f"{path}: line {lines[0][0]} ({lines[0][1]!r}) ends with a number, as every line, and these are not in the "
            f"order of the lines; if they are class indices, put them first"
        )
    return dict(found)


class ClassesOfImages(ABC):
    """Classes that images are found of, and no others. It reads nothing before it is asked.

    Args:
        root: the data set's folder.
        name: of the data set in the config, for messages.
        suffixes: of images, in lower case.
    """

    def __init__(self, root: Path, name: str, suffixes: Set[str]) -> None:
        self.root, self._where, self._suffixes = root, f"datasets.{name}.root", suffixes

    @property
    @abstractmethod
    def splits(self) -> dict[str, str]:
        """What tells the images of each split, by split; nothing where they are not told apart."""

    @property
    @abstractmethod
    def _found(self) -> dict[tuple[str, str], tuple[str, list[str]]]:
        """A folder ("" for the root) and the images in it, sorted, by what tells their split ("" for all) and class."""

    @cached_property
    def names(self) -> dict[str, str]:
        """Names of classes by id, in the order of their indices: that of classes.txt, else sorted.

        Raises:
            InputError: there are none, or classes.txt does not fit them.
        """
        classes = sorted({one for _, one in self._found})
        return read_classes(self.listed, classes) if self.listed.is_file() else {one: one for one in classes}

    @property
    def listed(self) -> Path:
        """Where the user may list classes."""
        return self.root / CLASSES

    def images(self, class_id: str, split: str) -> list[str]:
        """Return a class's images in a split, sorted, relative to the root; of all splits where nothing tells them."""
        folder, images = self._found.get((self.splits.get(split, ""), class_id), ("", []))
        return [f"{folder}/{image}" for image in images] if folder else images

    def without_images(self) -> dict[str, str]:
        """Return the classes that hold something, but no image, each with what it holds."""
        return {}


def unread_lists(root: Path, folders: Iterable[str] = ()) -> list[str]:
    """Return a doubt where there is no list of classes, but a file under a name or in a place where none is read.

    Args:
        root: where the list is read.
        folders: of splits in it.
    """
    found = [
        f"{folder}/{entry.name}".removeprefix("/")
        for folder in ("", *folders)
        for entry in entries(root / folder)
        if LIKE_A_LIST.fullmatch(entry.name.casefold()) and entry.is_file()
    ]
    if not found:
        return []
    return [f"{root / found[0]} is not read; if it says the order of classes, put that into {root / CLASSES}"]


def doubtful_ids(classes: Mapping[str, str]) -> str | None:
    """Tell what is doubtful about a list that was read without folders, for messages; None for nothing."""
    ids = list(classes)
    if all(one.isdecimal() for one in ids) and ids != [str(place) for place in range(len(ids))]:
        place = next(place for place, one in enumerate(ids) if one != str(place))
        return f"line {place + 1} is class {place}, but begins with {ids[place]}; write 0..{len(ids) - 1} there"
    for one, name in classes.items():
        if name != one and one.rstrip(",").isalpha():
            return f"{one} {name!r} is read as the id {one!r} and the name {name!r}; put a tab between id and name"
    return None


def _of_folders(path: Path, lines: list[Line], own: Mapping[str, str]) -> tuple[list[Class], InputError | None]:
    """Return id and name of each line where all folders are among them, else none and what is wrong."""
    try:
        found = _classes(path, lines, own)
    except InputError as error:
        return [], error
    missing = own.values() - dict(found).keys()
    if missing:
        named = ", ".join(sorted(missing)[:5])
        return [], InputError(f"{path} lacks the class folders {named}; add a line for each")
    return found, None


def _classes(path: Path, lines: list[Line], own: Mapping[str, str]) -> list[Class]:
    """Return id and name of each line, no id twice."""
    tabs = any("\t" in text for _, text in lines)
    commas = not own and all(re.match(r"[^\s,]+,\S", text) for _, text in lines)
    halves = [_halves(text, tabs=tabs, commas=commas) for _, text in lines]
    known = [
        {own[composed(one)]: (own[composed(one)], name) for one, name in both if composed(one) in own}
        for both in halves
    ]
    settled: set[str] = set()
    while alone := {one for options in known if len(options) == 1 for one in options} - settled:
        settled |= alone
        for options in known:
            if len(options) > 1 and options.keys() - alone:
                for one in alone & options.keys():
                    del options[one]
    for line, options in zip(lines, known, strict=True):
        if len(options) > 1:
            raise _ambiguous(path, line)
    first = Counter(composed(both[0][0]) for options, both in zip(known, halves, strict=True) if own and not options)
    found = [  # of a class without a folder the first word, or the whole line where classes share it
        next(iter(options.values()), both[-1 if first[composed(both[0][0])] > 1 else 0])
        for options, both in zip(known, halves, strict=True)
    ]
    twice = [one for one, count in Counter(composed(one) for one, _ in found).items() if count > 1]
    if twice:
        number, text = next(
            line for line, (one, _) in reversed([*zip(lines, found, strict=True)]) if composed(one) == twice[0]
        )
        raise InputError(
            f"{path} names a class twice: {twice[0]!r}, again in line {number} ({text!r}); each line is a class of its "
            f"own, and a tab ends an id that has spaces"
        )
    return found


def _halves(text: str, *, tabs: bool, commas: bool) -> list[Class]:
    """Return the ids and names that a line may be, as it is read where no folder tells first."""
    if tabs:
        return [_cut(text, text.find("\t"))]
    if text.startswith('"'):
        first, *others = next(csv.reader([text], skipinitialspace=True))
        return [(first, ", ".join(others) or first)]
    cuts = [place for place, letter in enumerate(text) if letter in ", "]
    first_cut = text.find("," if commas else " ")
    return [_cut(text, cut) for cut in (first_cut, *cuts, -1)]


def _cut(text: str, place: int) -> Class:
    one, name = (text, "") if place < 0 else (text[:place], text[place + 1 :])
    # Of what is inside a name only tabs change: tables could not hold them.
    return one.rstrip(), name.strip().replace("\t", " ") or one


def _indices(lines: list[Line]) -> list[int] | None:
    found = [INDEX.match(text) for _, text in lines]
    return [int(match[1]) for match in found if match] if lines and all(found) else None


def _by_index(indices: list[int], found: list[Class]) -> dict[str, str]:
    """Return classes in the order of their own indices."""
    return dict(one for _, one in sorted(zip(indices, found, strict=True)))


def _require_each_index(path: Path, lines: list[Line], indices: list[int]) -> None:
    seen: set[int] = set()
    for (number, text), index in zip(lines, indices, strict=True):
        if index in seen or index >= len(lines):
            raise InputError(
                f"{path}: line {number} ({text!r}) begins with the index {index}; indices are "
                f"0..{len(lines) - 1}, each once"
            )
        seen.add(index)


def _require_no_header(path: Path, line: Line, own: Mapping[str, str]) -> None:
    number, text = line
    words = [word.strip(' "').casefold() for word in re.split(r"[\t,]", text)]
    if len(words) > 1 and HEADER.issuperset(words) and not own.keys() & {composed(word) for word in words}:
        raise InputError(f"{path}: line {number} ({text!r}) is a header, and would be class 0; remove it")


def _ambiguous(path: Path, line: Line) -> InputError:
    return InputError(
        f"{path}: line {line[0]} ({line[1]!r}) can be read in two ways, by the folders that there are; put a tab "
        f"between folder and name, in every line that has both"
    )
