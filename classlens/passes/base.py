"""What a pass declares and computes; `classlens.passes.run` does everything else."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.hdf5 import Column
from classlens.inference.network import LoadedModel

Columns = dict[str, Column]
Files = Mapping[str, str | Sequence[str]]
Rows = Mapping[str, Mapping[str, Array]]
Tensors = Mapping[str, torch.Tensor]


def logits_column(shape: tuple[int, ...], text: str) -> Column:
    """Return a data set of logits (float32). Mantissas do not compress; packing them would only take time."""
    return Column(shape, np.float32, text, "logit", compress=False)


def label_columns(model: Any) -> Columns:
    """Return what passes read of token labels."""
    return {"label": Column((model.patch_embed.num_patches,), np.int8, "see `classlens.data.labels`")}


@dataclass(frozen=True)
class Part:
    """Consecutive images of a data set.

    Attributes:
        start: index of the first image.
        rows: what other files say of these images: by input and data set, (n, ...); of an input with several files
            (n, files, ...). Inputs without files are left out.
    """

    start: int
    rows: Rows


@dataclass(frozen=True)
class Summed:
    """Sums over all images, made before a pass.

    Attributes:
        totals: by name, float64.
        count: the number of terms in each, e.g. images.
    """

    totals: Mapping[str, Array]
    count: int


class Sums(ABC):
    """Adds up, over images, what a pass needs of all of them."""

    doing: str
    """What a job's progress line says that it does."""

    @abstractmethod
    def __init__(self, loaded: LoadedModel, images: int, **settings: Any) -> None:
        """Begin with nothing.

        Args:
            loaded: the model.
            images: of the data set, of which some are added.
            settings: those that the declaration names.
        """

    @abstractmethod
    def add(self, images: torch.Tensor, start: int) -> None:
        """Add images (n, 3, H, W), normalised, the first of index `start`; where it raises, it adds nothing."""

    @abstractmethod
    def totals(self) -> Tensors:
        """Return the sums so far, float64."""

    count = 0
    """The number of terms so far."""


class Pass(ABC):
    """Makes rows, one per image, from what a model does with it.

    A pass is made once per job and called batch by batch. Class methods say what its files hold, so that estimates need
    no weights.
    """

    doing: str
    """What a job's progress line says that it does."""
    images_that_fit: int = sys.maxsize
    """How many images go through at once, at most."""
    chunk_rows: bool = False
    """Chunks hold more rows where rows are small, see `hdf5.chunk_rows_of`."""
    has_facts: bool = True
    """Its files have attributes that tell tokens and classes apart, see `LoadedModel.attributes`."""
    inputs: tuple[str, ...] = ()
    """Its input files besides images and weights, by keyword."""
    finished: tuple[str, ...] = ()
    """Names of the files that its declaration's `finish` makes from those of rows."""
    columns: Callable[..., Columns]
    """A class method: columns(model, **settings) returns the data sets that it writes, a row per image.

    The model's parameters may be on the device "meta".
    """

    def __init__(self, loaded: LoadedModel, **settings: Any) -> None:
        """Take a model.

        Args:
            loaded: the model, frozen and in evaluation mode.
            settings: those that the declaration names; also `files` (by input), where it has `inputs`, and `summed`,
                where it has `sums`.
        """
        self.loaded, self.settings = loaded, settings

    @classmethod
    def reads(cls, model: Any) -> dict[str, Columns]:
        """Return, for each of its inputs, the data sets with a row per image that it reads."""
        return {}

    @classmethod
    def stand_in(cls, name: str, path: str, model: Any) -> None:
        """Write a file in place of an input without rows, for trials of the pass."""
        raise TypeError(f"{cls.__name__} reads no rows of {name}, and writes nothing that stands in for it")

    def written(self) -> Columns:
        """Return the data sets that it writes, given its model and settings."""
        return self.columns(self.loaded.model, **self.settings)

    def attributes(self) -> dict[str, Any]:
        """Return further attributes of its files."""
        return {}

    @abstractmethod
    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        """Return the rows (n, ...) of images, and what else `checked` looks at.

        Args:
            images: (n, 3, H, W), normalised, on the device.
            classes: (n) int64, the correct ones, on the device.
            part: which images these are.
        """

    def checked(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """Check what a call returned, once it is on the host, and return the rows to write.

        Raises:
            InputError: the rows are not sound.
        """
        return arrays

    def provenance(self) -> dict[str, Any]:
        """Return what the record of a job says of the pass, besides the device."""
        return {}
