"""Run a pass over the images of a data set: the one way in which jobs take images through a model.

Pixels are read, and rows are copied to the host, packed and written, while the device works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.batching import batches
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.hdf5 import CHUNK_ROWS, RowWriter, chunk_rows_of
from classlens.inference.batches import with_oom_backoff
from classlens.inference.host import HostCopy
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import load_network, read_classes, take_network
from classlens.inference.prefetch import background, prefetch
from classlens.models.inputs import to_device
from classlens.passes.base import Files, Part, Pass, Rows, Sums
from classlens.passes.sums import read_sums, sum_images
from classlens.progress import Progress


def run_pass(
    pixels: str,
    weights: str,
    rows: str = "",
    *,
    of: type[Pass],
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    sums: type[Sums] | None = None,
    summed: str = "",
    finish: Callable[..., None] | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Write what a pass makes of a data set's images, or of those of a shard.

    Args:
        pixels: pixel file of the images.
        weights: canonical weights.
        rows: the file to write; "" where `finish` makes something else of it.
        of: the pass.
        batch_size: images per forward pass, at most.
        start, stop: first and last + 1 image of a shard; by default of all.
        sums: what it needs summed over all images before.
        summed: file of these sums, where they were made before.
        finish: makes other files of the rows, called as finish([rows], **those of `Pass.finished`).
        given: what the pass reads (`Pass.inputs`) or is finished into, its settings, and those of `Network`.

    Returns:
        provenance: the device, and what the pass adds.

    Raises:
        InputError: a label is no class of the model, an input does not fit, or what was found is not sound.
    """
    loaded = load_network(weights, **take_network(given))
    finished = {name: given.pop(name) for name in of.finished if finish}
    inputs = {name: given.pop(name) for name in of.inputs}
    written = rows or f"{next(iter(finished.values()))}.rows"
    classes = read_classes(pixels, loaded.model.num_classes)
    numbers = range(len(classes))[start:stop]
    with frozen_eval_mode(loaded.model):
        before: dict[str, Any] = {"files": inputs} if inputs else {}
        if sums or summed:
            before["summed"] = sum_images(sums, loaded, pixels, numbers, batch_size) if sums else read_sums([summed])
        made = of(loaded, **before, **given)
        run_images(made, pixels, classes, numbers, inputs, written, batch_size)
    if finish:
        finish([written], **finished)
        Path(written).unlink()
    return {**loaded.provenance(), **made.provenance()}


def run_images(
    made: Pass, pixels: str, classes: Array, numbers: range, inputs: Files, written: str, batch_size: int
) -> None:
    """Take stored images through a pass and write its rows.

    Args:
        made: the pass.
        pixels: pixel file.
        classes: (N), those of all images in it.
        numbers: of the images to take, one after the other.
        inputs: what it reads beside.
        written: the file to write.
        batch_size: images at once, at most.
    """
    loaded, columns = made.loaded, made.written()
    attributes = {**(loaded.attributes() if made.has_facts else {}), **made.attributes()}
    chunk_rows = chunk_rows_of(columns) if made.chunk_rows else CHUNK_ROWS
    batch_size = min(batch_size, made.images_that_fit)
    # The stack unwinds from below: reading ends first, then rows on their way are written, then the file is closed.
    with ExitStack() as stack:
        # No pixel is read twice: a cache would only copy them once more.
        images = stack.enter_context(h5py.File(pixels, rdcc_nbytes=0))["pixels"]
        beside = stack.enter_context(RowInputs(inputs, made.reads(loaded.model), len(classes)))
        progress = stack.enter_context(Progress(len(numbers), made.doing))
        writer = stack.enter_context(
            RowWriter(written, len(numbers), columns, attributes, chunk_rows, torch.get_num_threads())
        )

        def keep(found: HostCopy) -> None:
            try:
                arrays = made.checked(found.arrays())
            except InputError as error:
                raise InputError(f"{written}: {error}") from None
            writer.append(arrays)
            progress.advance(len(next(iter(arrays.values()))))

        parts = [
            slice(numbers.start + part.start, numbers.start + part.stop) for part in batches(len(numbers), batch_size)
        ]
        keeping = stack.enter_context(background(keep))
        read = stack.enter_context(closing(prefetch(lambda part: (images[part], beside.rows(part)), parts)))
        for part, (batch, rows) in zip(parts, read, strict=True):

            def run(few: slice, first: int = part.start, batch: Array = batch, rows: Rows = rows) -> None:
                target = to_device(classes[first + few.start : first + few.stop], loaded.device)
                some = {name: {key: values[few] for key, values in found.items()} for name, found in rows.items()}
                with loaded.autocast():
                    found = made(loaded.normalise(batch[few]), target, Part(first + few.start, some))
                    copied = HostCopy(found)
                keeping(copied)

            # What was read ahead keeps its size; later batches are taken in pieces that have fitted.
            batch_size = with_oom_backoff(len(batch), batch_size, run)


class RowInputs:
    """Files with a row per image that a pass reads beside the images.

    Args:
        files: by input, one or several.
        wanted: the data sets of each.
        images: N, the rows that each has.

    Raises:
        InputError: a file has not the rows or the shape that the model has.
    """

    def __init__(self, files: Files, wanted: Mapping[str, Mapping[str, Any]], images: int) -> None:
        self._opened: dict[str, list[h5py.File]] = {}
        self._single = {name for name in wanted if isinstance(files[name], str)}
        self._wanted = wanted
        with ExitStack() as stack:
            for name, columns in wanted.items():
                paths = [str(files[name])] if name in self._single else list(files[name])
                self._opened[name] = [stack.enter_context(h5py.File(path, "r")) for path in paths]
                for path, file in zip(paths, self._opened[name], strict=True):
                    for key, column in columns.items():
                        if file[key].shape != (images, *column.shape):
                            raise InputError(
                                f"{path}: {key} is {file[key].shape}, which does not fit {images} images and rows of "
                                f"{column.shape}; make it from the same images and model"
                            )
            self._stack = stack.pop_all()

    def __enter__(self) -> RowInputs:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def rows(self, part: slice) -> Rows:
        """Return what the files say of some images, see `Part`."""
        found: dict[str, dict[str, Array]] = {}
        for name, files in self._opened.items():
            if files:
                read = {key: [file[key][part] for file in files] for key in self._wanted[name]}
                found[name] = {
                    key: values[0] if name in self._single else np.stack(values, axis=1) for key, values in read.items()
                }
        return found
