"""Take images through a model a batch at a time, in batches that fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

import torch

from classlens.arrays import Array
from classlens.batching import batches
from classlens.h5 import h5py
from classlens.inference.network import LoadedModel
from classlens.inference.prefetch import prefetch
from classlens.progress import Progress

log = logging.getLogger(__name__)
Result = TypeVar("Result")


def _out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a batch was too large for the device."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def with_oom_backoff(total: int, size: int, run: Callable[[slice], None]) -> int:
    """Call `run` on consecutive slices of `range(total)`; when memory runs out, halve the batch and go on.

    `run` must have no effect when it raises. Returned is the size that fits.

    Raises:
        torch.OutOfMemoryError: not even a single image fits.
    """
    start = 0
    while start < total:
        part = slice(start, min(start + size, total))
        try:
            run(part)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error) or size == 1:
                raise
            size = max(1, size // 2)
            log.warning("out of memory: going on with batches of %d", size)
        else:
            start = part.stop
            continue
        # Outside the handler, so that the failed batch's tensors are no longer held by the traceback.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return size


def collect(total: int, size: int, compute: Callable[[slice], Result]) -> list[Result]:
    """Return what `compute` returns for consecutive slices of `range(total)`, see `with_oom_backoff`."""
    found: list[Result] = []
    with_oom_backoff(total, size, lambda part: found.append(compute(part)))
    return found


def over_images(
    loaded: LoadedModel,
    pixels: str,
    batch_size: int,
    what: str,
    run: Callable[..., None],
    numbers: range | None = None,
) -> None:
    """Call `run(images, part)` on stored images in order; batches are halved when memory runs out.

    `part` has the numbers that the images have in the pixel file, whichever of them are run; `run` must have no effect
    when it raises.

    Args:
        loaded: whose inputs the images become, (n, 3, H, W).
        batch_size: images per call, at most.
        what: for the progress report.
        numbers: of the images, one after the other; None: all.
    """
    with h5py.File(pixels) as images:
        chosen = range(len(images["pixels"])) if numbers is None else numbers
        parts = [slice(chosen.start + one.start, chosen.start + one.stop) for one in batches(len(chosen), batch_size)]
        reading = closing(prefetch(lambda part: images["pixels"][part], parts))
        with Progress(len(chosen), what) as progress, reading as read:
            for part, batch in zip(parts, read, strict=True):

                def one(few: slice, first: int = part.start, batch: Array = batch) -> None:
                    run(loaded.normalise(batch[few]), slice(first + few.start, first + few.stop))
                    progress.advance(few.stop - few.start)

                batch_size = with_oom_backoff(len(batch), batch_size, one)
