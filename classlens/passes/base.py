"""What a pass says and does; `classlens.passes.run` does all the rest."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from classlens.arrays import Array
from classlens.hdf5 import Column
from classlens.inference.network import LoadedModel

Columns = dict[str, Column]
Files = Mapping[str, str | Sequence[str]]
Rows = Mapping[str, Mapping[str, Array]]
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Part:
    """Some images of a data set, one after the other.

    Attributes:
        start: number of the first image.
        rows: what other files say of these images: by input and data set, (n, ...); of an input with several files
            (n, files, ...). Of an input without files there is nothing.
    """

    start: int
    rows: Rows


@dataclass(frozen=True)
class Summed:
    """Sums over all images that come before a pass.

    Attributes:
        totals: by name, float64.
        count: what they are sums of, e.g. images.
    """

    totals: Mapping[str, Array]
    count: int


class Sums(ABC):
    """Adds up what a model says of images."""

    doing: str
    """What a job's progress is of."""

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
        """Add images (n, 3, H, W), normalised, the first of which has the number `start`; nothing if it raises."""

    @abstractmethod
    def totals(self) -> Tensors:
        """Return the sums so far, float64."""

    count = 0
    """What they are sums of."""


class Pass(ABC):
    """Makes rows, one per image, from what a model does with it.

    A pass is made once per job and called batch by batch. It says of its files in class methods what they hold, so that
    estimates need no model with weights.
    """

    doing: str
    """What a job's progress is of."""
    images_that_fit: int = sys.maxsize
    """How many images go through at once, at most."""
    chunk_rows: bool = False
    """Chunks hold more rows where rows are small, see `hdf5.chunk_rows_of`."""
    has_facts: bool = True
    """Its files have attributes that tell tokens and classes apart, see `LoadedModel.attributes`."""
    inputs: tuple[str, ...] = ()
    """Its files beside images and weights, by keyword."""
    finished: tuple[str, ...] = ()
    """Names of the files that its declaration's `finish` makes of those of rows."""
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
        """Return the data sets with a row per image that it reads of its inputs."""
        return {}

    @classmethod
    def stand_in(cls, name: str, path: str, model: Any) -> None:
        """Write a file that can stand in for an input without rows where a pass is tried."""
        raise NotImplementedError(f"{cls.__name__}: nothing stands in for {name}")

    def written(self) -> Columns:
        """Return the data sets of its files as they are written."""
        return self.columns(self.loaded.model, **self.settings)

    def attributes(self) -> dict[str, Any]:
        """Return further attributes of its files."""
        return {}

    @abstractmethod
    def __call__(self, images: torch.Tensor, classes: torch.Tensor, part: Part) -> Tensors:
        """Return the rows (n, ...) of images, and what `checked` looks at.

        Args:
            images: (n, 3, H, W), normalised, on the device.
            classes: (n) int64, the correct ones, on the device.
            part: which images these are.
        """

    def checked(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """Return rows that are sound, of what a call has returned, on the host.

        Raises:
            InputError: they are not.
        """
        return arrays

    def provenance(self) -> dict[str, Any]:
        """Return what the record of a job says of it beside its device."""
        return {}
