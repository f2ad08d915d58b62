"""Try what runs a model on a few made-up images, with fresh weights and made-up inputs, to see how long it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classlens.data.geometry import Size, sides
from classlens.data.pixels import pixel_columns
from classlens.hdf5 import Column, RowWriter
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel
from classlens.passes.base import Pass, Sums
from classlens.passes.run import run_images
from classlens.passes.sums import sum_images
from classlens.timing import TRIAL_IMAGES, Stage


class Trial:
    """A model with made-up images, in a folder that goes afterwards.

    Args:
        loaded: the model.
        folder: for files.
        batch_size: images at once, at most.
        size: of an image.
    """

    def __init__(self, loaded: LoadedModel, folder: Path, batch_size: int, size: Size) -> None:
        self.loaded, self.batch_size, self._folder = loaded, batch_size, folder
        channels = loaded.normalise.stored
        self.pixels = np.random.default_rng(0).integers(0, 256, (TRIAL_IMAGES, *sides(size), channels), np.uint8)
        self.classes = np.zeros(TRIAL_IMAGES, np.int64)
        columns = pixel_columns(size, loaded.model.num_classes, channels)
        made = {name: np.zeros((TRIAL_IMAGES, *one.shape), one.dtype) for name, one in columns.items()}
        self.file = self._write("pixels", columns, made | {"pixels": self.pixels})

    def of_pass(
        self,
        of: type[Pass],
        sums: type[Sums] | None,
        inputs: Mapping[str, str | Sequence[str]],
        settings: Mapping[str, Any],
        images: int,
    ) -> Iterator[Stage]:
        """Yield what a pass does, without the sums that it needs before.

        Args:
            of: the pass.
            sums: what it needs before.
            inputs: its files in a run, of which as many are made up here.
            settings: of the pass.
            images: that it takes in a run.
        """
        made_up = {name: self._made_up(of, name, files) for name, files in inputs.items() if name in of.inputs}
        before: dict[str, Any] = {"files": made_up} if of.inputs else {}
        with frozen_eval_mode(self.loaded.model):
            if sums:
                before["summed"] = sum_images(sums, self.loaded, self.file, range(1), self.batch_size)
            made = of(self.loaded, **before, **settings)
            written = str(self._folder / "rows.h5")

            def run(count: int) -> None:
                run_images(made, self.file, self.classes, range(count), made_up, written, self.batch_size)

            yield Stage(made.doing, images, run)

    def of_sums(self, of: type[Sums], settings: Mapping[str, Any], images: int) -> Iterator[Stage]:
        """Yield what sums over images take."""
        with frozen_eval_mode(self.loaded.model):
            yield Stage(
                of.doing,
                images,
                lambda count: sum_images(of, self.loaded, self.file, range(count), self.batch_size, **settings),
            )

    def _made_up(self, of: type[Pass], name: str, files: str | Sequence[str]) -> str | list[str]:
        """Return as many files as a run has, with rows of zeros."""
        columns = of.reads(self.loaded.model).get(name)
        number = 1 if isinstance(files, str) else len(files)
        if columns is None:
            paths = [str(self._folder / f"{name}.h5")]
            of.stand_in(name, paths[0], self.loaded.model)
        else:
            rows = {key: np.zeros((TRIAL_IMAGES, *one.shape), one.dtype) for key, one in columns.items()}
            paths = [self._write(f"{name}_{index}", columns, rows) for index in range(number)]
        return paths[0] if isinstance(files, str) else paths

    def _write(self, name: str, columns: Mapping[str, Column], rows: Mapping[str, Any]) -> str:
        path = str(self._folder / f"{name}.h5")
        with RowWriter(path, TRIAL_IMAGES, columns, self.loaded.attributes()) as writer:
            writer.append(rows)
        return path
