"""Where a model runs: device and precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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
    """Return the context that runs a forward pass in a precision.

    Args:
        device: where it runs.
        precision: float32, which CUDA computes as such; tf32, float32 whose products CUDA rounds to ten bits after the
            point before it sums them, while other devices know no such type and take float32; bfloat16 or float16, the
            type that autocast may use.
    """
    if precision in ("float32", "tf32"):
        return _tf32(precision == "tf32") if device.type == "cuda" else nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32; torch's own default allows it in convolutions only."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
