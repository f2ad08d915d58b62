"""Read the tables of tensors that a checkpoint holds, without running code."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from classlens.errors import InputError
from classlens.models.foreign import AGAIN, SAVE, kind_of

MOST_VALUES = 1_000_000
"""Of a checkpoint's tables and lists together; those of optimisers have some ten thousand."""
DEEPEST = 8

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Table:
    """Tensors that lie together in a checkpoint.

    Attributes:
        path: the keys that lead there, with dots between; "" for the checkpoint itself.
        tensors: by name.
    """

    path: str
    tensors: Tensors


def read_tables(path: Path) -> list[Table]:
    """Return all tables of tensors in a checkpoint; those of archives and .safetensors are mapped, not read.

    As timm does, a pickle is read as tensors, plain values and argparse.Namespace, which many scripts save beside them.

    Args:
        path: of torch.save or .safetensors, told apart by their content.

    Raises:
        InputError: the file is something else, is damaged, or holds other objects or no tensors.
    """
    kind = kind_of(path)
    if kind != "safetensors" and path.suffix == ".safetensors":  # which torch.load itself would believe
        raise InputError(f"{path} was written by torch.save, though its name says otherwise; call it .pth")
    try:
        if kind == "safetensors":
            checkpoint: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):
                checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "torch")
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint: {error}; {AGAIN}") from error
    except Exception as error:  # pickle.UnpicklingError and what a damaged pickle raises
        raise InputError(f"{path} is refused as a checkpoint: {_refusal(path, error)}") from error
    found = _tables(checkpoint, path)
    if not found:
        raise InputError(f"{path} holds no table of tensors; {SAVE}")
    return found


def tensors_in(file: Path) -> Tensors:
    """Return all tensors of a checkpoint, whatever table they lie in, without the prefix of DataParallel."""
    return {
        name.removeprefix("module."): tensor for table in read_tables(file) for name, tensor in table.tensors.items()
    }


def _refusal(path: Path, error: Exception) -> str:
    """Say which objects a pickle holds; torch's message runs over seven lines and advises to trust the file."""
    if "GLOBAL" not in str(error) and "persistent" not in str(error):
        return f"it is damaged or of another kind; {AGAIN}"
    try:
        objects = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of files that are no archives it cannot tell
        objects = []
    objects = sorted(set(objects) - {"argparse.Namespace"}, key=lambda name: (not name.startswith("timm.models"), name))
    named = (
        f" ({', '.join(objects[:3])}{', ...' if len(objects) > 3 else ''})" if objects else ", such as a whole model,"
    )
    whole = any(name.startswith(("timm.models", "torch.nn.modules")) for name in objects)
    what = f"{'a whole pickled model' if whole else 'objects'}{named} and reading these may run code"
    return f"it holds {what}; where you trust it, load it (weights_only=False) and save model.state_dict() instead"


def _tables(checkpoint: Any, path: Path) -> list[Table]:
    found: list[Table] = []
    seen = 0

    def walk(value: Any, keys: tuple[str, ...]) -> None:
        nonlocal seen
        if not isinstance(value, Mapping | list | tuple) or len(keys) > DEEPEST:
            return
        items = list(value.items()) if isinstance(value, Mapping) else list(enumerate(value))
        seen += len(items)
        if seen > MOST_VALUES:
            raise InputError(f"{path} cannot be read as a checkpoint: its tables are nested without end; {SAVE}")
        tensors = {str(key): part for key, part in items if isinstance(part, torch.Tensor)}
        if tensors:
            found.append(Table(".".join(keys), tensors))
        for key, part in items:
            walk(part, (*keys, str(key)))

    walk(checkpoint, ())
    return found
