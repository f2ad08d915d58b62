"""CIFAR-100 in torchvision's files: 60,000 images of 32 x 32 pixels in 100 classes.

root/cifar-100-python/test     evaluation images
root/cifar-100-python/train    training images
root/cifar-100-python/meta     class names; line number = class index

The files are pickles. They are read without torchvision and by an unpickler that knows plain values and arrays only, so
that nothing in them can run. A file name is `test#ROW`.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from classlens.arrays import Array
from classlens.data.source import Source
from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

FOLDER = "cifar-100-python"
PARTITIONS = {"evaluation": "test", "training": "train"}
META = "meta"
SIDE = 32


class Cifar100(Source):
    """The rows of CIFAR-100's files."""

    published = (
        "CIFAR-100: https://www.cs.toronto.edu/~kriz/cifar.html; unpack "
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz (md5 eb9058c3a382ffc7106e4002c42a8d85) in the root",
    )
    decodes = False
    without_masks = "CIFAR-100 has no masks, so its tokens cannot be told into class and context"

    def __init__(self, *place: Any, **named: Any) -> None:
        super().__init__(*place, **named)
        self._images: dict[str, Array] = {}
        self._lock = Lock()

    def layout(self) -> dict[Path, str]:
        """Return the files that must be there."""
        folder = self.root / FOLDER
        return {
            folder / PARTITIONS["evaluation"]: "evaluation images",
            folder / PARTITIONS["training"]: "training images",
            folder / META: "names of the classes",
        }

    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return all images, class by class, in the order of the files."""
        names = self._class_names()
        found = []
        for split, partition in PARTITIONS.items():
            for row, label in enumerate(map(int, self._get(partition, "fine_labels"))):
                if not 0 <= label < len(names):
                    raise InputError(f"{self._path(partition)}: image {row} has the class {label} of {len(names)}")
                found.append(Stimulus(split, label, names[label], names[label], f"{partition}#{row}"))
        return sorted(found, key=lambda item: item.class_index)

    def class_ids(self) -> list[str]:
        """Return the names of the classes."""
        return self._class_names()

    def image_files(self, chosen: Sequence[Stimulus]) -> list[str]:
        """Return the files that all images come from."""
        return [str(self._path(part)) for part in (*PARTITIONS.values(), META)]

    def content(self, file: str) -> bytes:
        """Return an image's bytes: red, green and blue, each row by row."""
        partition, _, row = file.rpartition("#")
        with self._lock:
            if partition not in self._images:
                self._images[partition] = self._read_images(partition)
        return bytes(self._images[partition][int(row)].tobytes())

    def decode(self, content: bytes, file: str) -> Image.Image:
        """Return an image."""
        planes = np.frombuffer(content, np.uint8).reshape(3, SIDE, SIDE)
        return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))

    def _class_names(self) -> list[str]:
        return [str(text) for text in self._get(META, "fine_label_names")]

    def _read_images(self, partition: str) -> Array:
        found = np.asarray(self._get(partition, "data"))
        if found.dtype != np.uint8 or found.shape[1:] != (3 * SIDE * SIDE,):
            path = self._path(partition)
            raise InputError(f"{path} is not a file of CIFAR-100 (images of {SIDE} x {SIDE} pixels); unpack it again")
        return found

    def _path(self, part: str) -> Path:
        path = self.root / FOLDER / part
        if not path.is_file():
            raise InputError(
                f"datasets.{self.name}.root: {path} is missing; unpack cifar-100-python.tar.gz in {self.root}, or let "
                f"torchvision.datasets.CIFAR100 download it there"
            )
        return path

    def _get(self, part: str, key: str) -> Any:
        path = self._path(part)
        try:
            with path.open("rb") as file:
                content = _Plain(file, encoding="latin1").load()
        except Exception as error:  # a damaged pickle raises whatever comes up
            raise InputError(f"{path} is not a file of CIFAR-100 ({error}); unpack it again") from error
        if not isinstance(content, Mapping) or key not in content:
            raise InputError(f"{path} is not a file of CIFAR-100 (it has no {key}); unpack it again")
        return content[key]


class _Plain(pickle.Unpickler):
    """Reads plain values and numpy arrays, and refuses everything else."""

    ALLOWED = frozenset({"numpy._core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype", "_codecs.encode"})

    def find_class(self, module: str, name: str) -> Any:
        # The published files were written when this module of numpy had another name.
        module = module.replace("numpy.core.", "numpy._core.")
        if f"{module}.{name}" not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module, name)
