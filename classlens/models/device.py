"""Where a model runs: device and precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from classlens.errors import InputError


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
