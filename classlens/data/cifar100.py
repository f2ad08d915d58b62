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
from functools import lru_cache
from pathlib import Path
from typing import Any

from classlens.data.stimulus import Stimulus
from classlens.errors import InputError

FOLDER = "cifar-100-python"
PARTITIONS = {"evaluation": "test", "training": "train"}
META = "meta"
SIDE = 32


def stimuli(dataset: Mapping[str, Any], name: str) -> list[Stimulus]:
    """Return all images, class by class, in the order of the files.

    Raises:
        InputError: a file is missing or is not one of CIFAR-100's.
    """
    root = dataset["root"]
    names = class_names(root, name)
    found = []
    for split, partition in PARTITIONS.items():
        for row, label in enumerate(_labels(_path(root, partition, name))):
            if not 0 <= label < len(names):
                raise InputError(f"{_path(root, partition, name)}: image {row} has the class {label} of {len(names)}")
            found.append(Stimulus(split, label, names[label], names[label], f"{partition}#{row}"))
    return sorted(found, key=lambda item: item.class_index)


def class_names(root: str, name: str = "NAME") -> list[str]:
    """Return the names of the classes by index."""
    path = _path(root, META, name)
    return [str(text) for text in _get(_load(path), "fine_label_names", path)]


def class_count(dataset: Mapping[str, Any], name: str = "NAME") -> int:
    """Return the number of classes."""
    return len(class_names(dataset["root"], name))


def has_masks(_dataset: Mapping[str, Any]) -> bool:
    """No image has one."""
    return False


def raw_images(dataset: Mapping[str, Any], _chosen: Sequence[Stimulus], name: str) -> list[str]:
    """Return the files that all images come from."""
    return [str(_path(dataset["root"], part, name)) for part in (*PARTITIONS.values(), META)]


def raw_masks(_dataset: Mapping[str, Any], _chosen: Sequence[Stimulus], name: str) -> list[str]:
    """Refuse: there are no masks.

    Raises:
        InputError: always.
    """
    raise InputError(f"datasets.{name}: CIFAR-100 has no masks, so its tokens cannot be told into class and context")


def rows(root: str, partition: str) -> Any:
    """Return the images of a partition as an array (n, 3072) of bytes: red, green, blue, each row by row."""
    path = _path(root, partition, "NAME")
    found = _get(_load(path), "data", path)
    if getattr(found, "shape", ())[1:] != (3 * SIDE * SIDE,):
        raise InputError(f"{path} is not a file of CIFAR-100 (images of {SIDE} x {SIDE} pixels); unpack it again")
    return found


def _path(root: str, part: str, name: str) -> Path:
    path = Path(root) / FOLDER / part
    if not path.is_file():
        raise InputError(
            f"datasets.{name}.root: {path} is missing; unpack cifar-100-python.tar.gz in {root}, or let "
            f"torchvision.datasets.CIFAR100 download it there"
        )
    return path


@lru_cache(maxsize=8)
def _labels(path: Path) -> tuple[int, ...]:
    return tuple(int(label) for label in _get(_load(path), "fine_labels", path))


class _Plain(pickle.Unpickler):
    """Reads plain values and numpy arrays, and refuses everything else."""

    ALLOWED = frozenset({"numpy._core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype", "_codecs.encode"})

    def find_class(self, module: str, name: str) -> Any:
        # The published files were written when this module of numpy had another name.
        module = module.replace("numpy.core.", "numpy._core.")
        if f"{module}.{name}" not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module, name)


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Plain(file, encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises whatever comes up
        raise InputError(f"{path} is not a file of CIFAR-100 ({error}); unpack it again") from error


def _get(content: Any, key: str, path: Path) -> Any:
    if not isinstance(content, Mapping) or key not in content:
        raise InputError(f"{path} is not a file of CIFAR-100 (it has no {key}); unpack it again")
    return content[key]
