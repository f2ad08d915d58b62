"""Data sets packed into shards: thousands of images in a file, so that a million images are some hundred files.

root/validation/*, root/train/*   shards of evaluation images, of training images
root/validation*, root/train*     or: the same, told apart by how the shards' names begin
                                  (`classlens.data.classes` has other names)
root/*                            or: of each class the first per_class images are for evaluation, the next for
                                  training
root/classes.txt                  optional, as of image folders: line number = class index

An image's file name in stimuli.csv is SHARD#NAME, such as train/000003.tar#000017.jpg. What a shard holds, and where,
is its index. It is read once and remembered in the working directory while the shard stays as it is: every
process of the workflow asks for all images.
"""

from __future__ import annotations

import json
import os
import re
import stat
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from classlens.batching import batches
from classlens.data.classes import CLASSES, WORDS, doubtful_ids, find_splits, read_classes, unread_lists
from classlens.data.mask import Mask
from classlens.data.order import as_stored
from classlens.data.raw import entries, require_text
from classlens.data.source import Source
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError
from classlens.shipped import CACHE
from classlens.store.memory import FileMemory

if TYPE_CHECKING:
    from PIL import Image

KEPT = 16
"""Indices of shards that are kept in memory while images are read."""
OTHER_SHARD = re.compile(r"\.(tar(\.\w+)?|tgz|zip|parquet(\.\w+)?|arrow|tfrecord)$")
"""Endings of files that hold many images, of this kind or another one."""
LOOKED_OVER = 64
"""Indices that are asked for at a time."""


class Packed(Source):
    """Images and masks in shards."""

    packed = True
    holds = "the shards"
    suffix: ClassVar[str]
    """Of shards."""
    version: ClassVar[int]
    """Raised when an index holds something else, or other shards are refused."""

    def __init__(self, *place: Any, **named: Any) -> None:
        super().__init__(*place, **named)
        self._kept, self._finding = lru_cache(KEPT)(self._rows), Lock()

    @staticmethod
    @abstractmethod
    def look(shard: str) -> dict[str, Any]:
        """Return a shard's index, as JSON knows it; images themselves are not read.

        Returns:
            `images`, the names of its images; `labels`, their class indices (at least 0); `masks`, false where it has
            none; and what else the kind needs.

        Raises:
            InputError: the shard, or something in it, is wrong; the message names both.
        """

    @abstractmethod
    def read(self, shard: Path, index: Mapping[str, Any], row: int, *, mask: bool = False) -> bytes:
        """Return the content of an image, or of its mask; errors are those of `content`."""

    @abstractmethod
    def carried(self, shard: Path, index: Mapping[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
        """Return the values of attributes of a shard's images, in the index's order; "" where there is none.

        Raises:
            InputError: the shard has no such attribute, or cannot be read.
        """

    def attributes(self, files: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
        """Return what shards say of images beside their class, by attribute; a shard is read once."""
        shards: dict[str, dict[str, list[str]]] = {}
        found: dict[str, list[str]] = {name: [] for name in names}
        for file in files:
            shard = self._split(file)[0]
            path, index, row = self._find(file, mask=False)
            if shard not in shards:
                shards[shard] = self.carried(path, index, names)
            for name in names:
                found[name].append(shards[shard][name][row])
        return found

    def named(self, _index: Mapping[str, Any]) -> list[str] | None:
        """Return the names of classes that a shard brings, None if it brings none."""
        return None

    def masked(self, index: Mapping[str, Any], _image: str) -> bool:
        """Tell whether an image of a shard has a mask."""
        return bool(index["masks"])

    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return all images, class by class, each class's in the order of shards and of images in them."""
        classes, names, wanted, seen = self._classes, self._names, selection["per_class"], Counter[int]()
        found = defaultdict[int, list[Stimulus]](list)
        for split, shards in self._shards.items():
            for shard, index in self._indices(shards):
                if names is not None and self.named(index) != names:
                    raise InputError(
                        f"{self.root / shard} has other names of classes than the first shard; make them equal"
                    )
                for image, label in zip(index["images"], index["labels"], strict=True):
                    if label >= len(classes):
                        raise InputError(
                            f"{self.root / shard}: {image} has the class {label}, but classes are "
                            f"0..{len(classes) - 1}; correct it, or the list of classes"
                        )
                    own = split or ("evaluation" if wanted is None or seen[label] < wanted else "training")
                    seen[label] += 1
                    class_id, text = classes[label]
                    found[label].append(Stimulus(own, label, class_id, text, f"{shard}#{image}"))
        return [item for label in sorted(found) for item in found[label]]

    def class_ids(self) -> list[str]:
        """Return the classes that are listed, by classes.txt or by a shard; else there are images of each."""
        return [class_id for class_id, _ in self._classes]

    def wnids(self) -> list[str]:
        """Return the names that shards bring; without them, indices are the user's own numbers."""
        return self._names or []

    @property
    def listed(self) -> bool:
        """Whether classes.txt says the order of classes."""
        return self._listed.is_file()

    def notes(self) -> list[str]:
        """Return which shards are taken for what."""
        if "" in self._shards:
            return []
        left = self._unread()
        ends = [(split, shards[0], shards[-1]) for split, shards in self._shards.items() if shards]
        taken = ", ".join(f"{split} images come from {first} to {last}" for split, first, last in ends)
        return [taken + (f"; {', '.join(left[:3])}{' and more' if len(left) > 3 else ''} left alone" if left else "")]

    def doubts(self, selection: Mapping[str, Any]) -> list[str]:
        """Return what is doubtful about the list of classes, and what is passed over."""
        return [*self._doubts(), *super().doubts(selection)]

    def _doubts(self) -> Iterator[str]:
        if self.listed and (doubt := doubtful_ids(dict(self._classes))):
            yield f"{self._listed}: {doubt}"
        if self._names is None and not self.listed:
            yield from unread_lists(self.root)
        where = f"datasets.{self.name}.root"
        if "" in self._shards and (unread := self._unread()):
            yield (
                f"{where}: shards in {', '.join(unread)} are passed over; evaluation and training shards lie in two "
                f"folders, or side by side in {self.root} (see docs/data.md)"
            )
        folders = {shard.rpartition("/")[0] for shards in self._shards.values() for shard in shards}
        names = [entry.name for folder in sorted(folders) for entry in entries(self.root / folder)]
        if other := [
            name for name in names if OTHER_SHARD.search(one := name.lower()) and not one.endswith(self.suffix)
        ]:
            yield (
                f"{where}: {len(other):,} files such as {other[0]} are passed over, since shards of kind "
                f"{type(self).__name__.lower()} end in {self.suffix}; unpack or convert them, or take them away"
            )

    @property
    def more_training(self) -> str:
        """How a class gets more training images."""
        if "training" in self._shards:
            return "add shards of train"
        return "lower per_class: training images are those that it leaves (see docs/data.md)"

    @property
    def has_masks(self) -> bool:
        """Whether the first shard of evaluation images has masks."""
        first = next(iter(self._shards.values()))[:1]
        return any(index["masks"] for _, index in self._indices(first))

    def image_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the shards of the chosen images, and the list of classes; which are chosen follows from these."""
        shards = {str(self.root / self._split(item.file)[0]) for item in chosen}
        return [*sorted(shards), *([str(self._listed)] if self._listed.is_file() else [])]

    def mask_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the shards of the chosen evaluation images."""
        if not self.has_masks:
            raise self.no_masks()
        files = [item.file for item in chosen if item.split == "evaluation"]
        for number in as_stored(files):
            self._find(files[number], mask=True)
        return sorted({str(self.root / self._split(file)[0]) for file in files})

    def content(self, file: str) -> bytes:
        """Read an image out of its shard.

        Raises:
            InputError: it is not there, or cannot be read.
        """
        return self._read(file, mask=False)

    def decode(self, content: bytes, file: str) -> Image.Image:
        """Decode an image."""
        from classlens.data.images import open_image  # Pillow is for decoding alone

        return open_image(content, Path(self._shown(file)), self.value_range)

    def mask_content(self, file: str, class_id: str) -> bytes:
        """Read an image's mask out of its shard."""
        return self._read(file, mask=True)

    def decode_mask(self, content: bytes, file: str) -> Mask:
        """Decode a mask: pixels that are not zero are class."""
        from classlens.data.images import open_nonzero

        return open_nonzero(content, Path(self._shown(file)))

    @cached_property
    def _shards(self) -> dict[str, list[str]]:
        """Return the shards by split, relative to the root; by "" where evaluation and training images share them."""
        self.require_root()
        folders = find_splits(self._folders)
        if folders.keys() == WORDS.keys():
            found = {split: self._files(folders[split]) for split in WORDS}
        else:
            every = self._files("")
            words = {_first_word(one) for one in every}
            named = find_splits(words)
            found = {split: [one for one in every if _first_word(one) == named.get(split)] for split in WORDS}
            if not all(found.values()):
                if any(found.values()) and len(words) > 1:
                    raise InputError(
                        f"datasets.{self.name}.root: {self.root} has shards of some other name beside "
                        f"{' or '.join(f'{word}*' for word in named.values())}; call shards of evaluation images "
                        f"validation*{self.suffix}, of training images train*{self.suffix}"
                    )
                found = {"": every}
        if not found.get("evaluation", found.get("")):
            raise InputError(
                f"datasets.{self.name}.root: {self.root} has no shards of evaluation images (*{self.suffix}); see "
                f"docs/data.md for where they go"
            )
        return found

    def _files(self, folder: str) -> list[str]:
        """Return the shards of a folder by name."""
        names = [entry.name for entry in entries(self.root / folder) if not entry.is_dir()]
        shards = [name for name in names if name.lower().endswith(self.suffix) and not name.startswith(".")]
        for name in shards:
            require_text(name)
            if f"{self.suffix}#" in name.lower():
                raise InputError(f"{self.root / folder / name}: {self.suffix}# ends a shard's name; rename the file")
        return [f"{folder}/{name}" if folder else name for name in shards]

    @cached_property
    def _folders(self) -> list[str]:
        return [entry.name for entry in entries(self.root) if entry.is_dir()]

    def _unread(self) -> list[str]:
        """Return the shards that lie in the root, and the folders in it that hold some, of which none is read."""
        read = {shard for shards in self._shards.values() for shard in shards}
        of_folders = {folder: {*self._files(folder)} for folder in self._folders}
        return sorted({*self._files("")} - read) + [
            f"{folder}/" for folder, shards in of_folders.items() if shards - read
        ]

    @property
    def _listed(self) -> Path:
        return self.root / CLASSES

    @cached_property
    def _classes(self) -> list[tuple[str, str]]:
        """Return ids and names of classes."""
        if self._listed.is_file():
            return list(read_classes(self._listed).items())
        names = self._names
        if names is None:
            names = [str(label) for label in range(self._unlisted())]
        return [(str(label), name) for label, name in enumerate(names)]

    @cached_property
    def _names(self) -> list[str] | None:
        """Return the names of classes that the first shard brings and the others must have, None for none."""
        if self._listed.is_file():
            return None
        return next(self.named(index) for _, index in self._indices(next(iter(self._shards.values()))[:1]))

    def _unlisted(self) -> int:
        """Return the number of classes that images have; without a list, a class without image may be a wrong label."""
        shards = [shard for shards in self._shards.values() for shard in shards]
        labels = {
            label: (shard, row) for shard, index in self._indices(shards) for row, label in enumerate(index["labels"])
        }
        highest = max(labels, default=-1)
        if highest >= len(labels):
            missing = next(label for label in range(highest) if label not in labels)
            shard, row = labels[highest]
            image = next(index for _, index in self._indices([shard]))["images"][row]
            raise InputError(
                f"{self.root / shard}: {image} has the class {highest}, but no image has the class {missing}; correct "
                f"it, or write {self._listed}, a line per class"
            )
        return len(labels)

    def _indices(self, shards: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield shards with their indices."""
        for part in batches(len(shards), LOOKED_OVER):
            try:
                texts = self._memory.texts([self.root / shard for shard in shards[part]])
            except OSError as error:
                raise InputError(
                    f"{error.filename or self.root} cannot be read ({error.strerror}); replace it"
                ) from error
            for shard, text in zip(shards[part], texts, strict=True):
                yield shard, json.loads(text)

    @cached_property
    def _memory(self) -> FileMemory:
        place = Path.cwd() / CACHE / f"{self.suffix.removeprefix('.')}-{self.version}.sqlite"
        return FileMemory(place, self._looked)

    def _looked(self, shard: str) -> str:
        # Opening a named pipe would wait for ever.
        if not stat.S_ISREG(os.stat(shard).st_mode):
            raise InputError(f"{shard} is not a regular file; replace it, or take it out of the data set")
        return json.dumps(self.look(shard))

    def _rows(self, shard: str) -> tuple[dict[str, Any], dict[str, int]]:
        """Return a shard's index, and the row of each of its images."""
        [(_, index)] = self._indices([shard])
        return index, {image: row for row, image in enumerate(index["images"])}

    def _find(self, file: str, *, mask: bool) -> tuple[Path, dict[str, Any], int]:
        """Return an image's shard, the shard's index, and the image's row there."""
        shard, image = self._split(file)
        with self._finding:  # or every thread would read the index that one of them is reading
            index, rows = self._kept(shard)
        if image not in rows:
            raise InputError(f"{self._shown(file)} is gone; restore it, or run again")
        if mask and not self.masked(index, image):
            raise InputError(f"{self._shown(file)} has no mask; add it, or take all masks away")
        return self.root / shard, index, rows[image]

    def _read(self, file: str, *, mask: bool) -> bytes:
        shard, index, row = self._find(file, mask=mask)
        try:
            return self.read(shard, index, row, mask=mask)
        except OSError as error:
            raise InputError(f"{shard} cannot be read ({error.strerror or error}); replace it") from error

    def _split(self, file: str) -> tuple[str, str]:
        """Return shard and name of an image's file name."""
        end = file.lower().index(f"{self.suffix}#") + len(self.suffix)
        return file[:end], file[end + 1 :]

    def _shown(self, file: str) -> str:
        shard, image = self._split(file)
        return f"{self.root / shard}: {image}"


def _first_word(shard: str) -> str:
    """Return the letters that a shard's name begins with, and of these the split, if they begin with one."""
    letters = re.split(r"[\W\d_]", shard, maxsplit=1)[0]
    return next((one for one in ("validation", "train") if letters.startswith(one)), letters)
