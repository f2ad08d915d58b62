"""Where a model runs: device, precision, threads, and what to do when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from classlens.errors import InputError

log = logging.getLogger(__name__)


def choose_device(wanted: str = "auto") -> torch.device:
    """Return CUDA where there is one, else MPS, else the CPU; or the device that the user names.

    Args:
        wanted: auto, cuda, mps or cpu; or one of several devices, e.g. cuda:1.

    Raises:
        InputError: the named device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    name = next(name for name, there in available.items() if there) if wanted == "auto" else wanted
    if not available[name.partition(":")[0]]:
        raise InputError(f"config: extraction.device is {wanted}, but this machine has none; set it to auto")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return a device's name for the record, e.g. "cpu" or "cuda:1 (NVIDIA A100-SXM4-80GB)"."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context that runs a forward pass in a precision; float32 means without autocast."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a batch was too large for the device."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def in_fitting_batches(total: int, size: int, run: Callable[[slice], None]) -> None:
    """Call `run` on consecutive slices of `range(total)`; when memory runs out, halve the batch and go on.

    `run` must have no effect when it raises.

    Raises:
        torch.OutOfMemoryError: not even a single image fits.
    """
    start = 0
    while start < total:
        part = slice(start, min(start + size, total))
        try:
            run(part)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or size == 1:
                raise
            size = max(1, size // 2)
            log.warning("out of memory: going on with batches of %d", size)
        else:
            start = part.stop
            continue
        # Outside the handler, so that the failed batch's tensors are no longer held by the traceback.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
