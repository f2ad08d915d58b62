"""A user's own classification head, for models that have none or the wrong one.

A head file holds `weight` (C, D), an optional `bias` (C) and optional class names: .npz (array `class_names`) or
.safetensors (metadata `class_names`, a JSON list). Its shape is read without torch and without its numbers. A head of
one row w is that of a binary classifier, and is read as two classes with the rows -w/2 and w/2.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from classlens.errors import InputError

SUFFIXES = (".npz", ".safetensors")
PLAUSIBLE, GROWTH = 64_000_000, 20
"""Bytes that arrays may claim, and how many times more than their file's; weights hardly compress, zeros 1000 times."""
NO_WIDE_HEAD = (
    "options.global_pool is cls_mean, but its pretrained weights bring no head on [CLS ; mean], so that this one would "
    "be random; give a head (docs/heads.md), or weights that bring one"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Head:
    """W and bias of the projection onto the classes."""

    weight: npt.NDArray[np.float32]
    """(C, D)"""
    bias: npt.NDArray[np.float32]
    """(C)"""
    class_names: tuple[str, ...] | None


def not_brought(wanted: int, published: int) -> str:
    """Say that published weights have a head for another number of classes, in whose place timm draws one at random."""
    return (
        f"options.num_classes is {wanted}, but its pretrained weights bring a head for {published} classes, so that "
        f"this one would be random; leave options.num_classes out, give a head (docs/heads.md), or weights that bring "
        f"one for {wanted}"
    )


def save_head(
    path: Path | str,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a head file.

    Args:
        path: its suffix says how: .npz or .safetensors.
        weight: (C, D).
        bias: (C); zero where it is missing.
        class_names: C of them.

    Raises:
        InputError: shapes do not belong together, or the suffix is another one.
    """
    _require_suffix(path)
    arrays = {"weight": np.asarray(weight, np.float32)}
    if bias is not None:
        arrays["bias"] = np.asarray(bias, np.float32)
    _check(path, arrays, class_names)
    if Path(path).suffix == ".npz":
        names = {} if class_names is None else {"class_names": np.asarray(class_names)}
        np.savez(path, **{**arrays, **names})  # type: ignore[arg-type]
    else:
        save_file(arrays, path, None if class_names is None else {"class_names": json.dumps(list(class_names))})


def read_head(path: Path | str) -> Head:
    """Read a head file; one row is read as two classes, see above.

    Raises:
        InputError: it is missing, is no head file, or its parts do not belong together.
    """
    arrays, names = _read(path, ("weight", "bias"))
    _check(path, arrays, names)
    weight = arrays["weight"].astype(np.float32)
    bias = arrays.get("bias", np.zeros(len(weight))).astype(np.float32)
    if len(weight) == 1:
        log.info("%s: its one row is read as two classes, the negative one first", path)
        weight, bias = (np.concatenate([-values, values]) / np.float32(2) for values in (weight, bias))
    return Head(weight, bias, None if names is None else tuple(names))


def head_shape(path: Path | str) -> tuple[int, int]:
    """Return C and D of a head file; C is 2 where it has one row.

    Raises:
        InputError: as `read_head`.
    """
    arrays, _ = _read(path, ("weight",))
    _check(path, arrays, None)
    rows, width = arrays["weight"].shape
    return max(2, rows), width


def _read(path: Path | str, wanted: Sequence[str]) -> tuple[dict[str, Any], list[str] | None]:
    _require_suffix(path)
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"{path}: a head is a file, no folder, pipe or device; correct the model's key `head`")
    try:
        if Path(path).suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                require_plausible(file, path)
                arrays = {name: file[name] for name in wanted if name in file}
                names = file.get("class_names")
                are_texts = names is None or (names.ndim == 1 and names.dtype.kind in "Uiu")
        else:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in wanted if name in file.keys()}  # noqa: SIM118
                names = json.loads((file.metadata() or {}).get("class_names", "null"))
                are_texts = names is None or (isinstance(names, list) and all(isinstance(n, str | int) for n in names))
        if not are_texts:
            raise ValueError("`class_names` are no list of texts")
        return arrays, None if names is None else list(map(str, names))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; correct the model's key `head`") from error
    except RecursionError as error:
        raise InputError(f"{path} cannot be read as a head: its class names are nested too deeply") from error
    except (OSError, ValueError, BadZipFile, SafetensorError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a head: {error}") from error


def require_plausible(file: Any, path: Path | str) -> None:
    """Refuse an .npz file whose arrays claim far more than a file of its size holds, before numpy makes room for them.

    `file` is what `numpy.load` opened at `path`.

    Raises:
        ValueError: naming the array; also for members that are no arrays.
    """
    most = max(PLAUSIBLE, GROWTH * Path(path).stat().st_size)
    if (unpacked := sum(entry.file_size for entry in file.zip.infolist())) > most:
        raise ValueError(f"it unpacks to {unpacked / 1e9:.3g} GB, more than the file can hold")
    for name in file.zip.namelist():
        with file.zip.open(name) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
            if (size := math.prod(shape) * dtype.itemsize) > most:
                raise ValueError(f"{name} claims {size / 1e9:.3g} GB, more than the file can hold")


def _require_suffix(path: Path | str) -> None:
    if Path(path).suffix not in SUFFIXES:
        raise InputError(f"{path}: a head is a file of kind {' or '.join(SUFFIXES)}; see docs/heads.md")


def _check(path: Path | str, arrays: dict[str, Any], names: Sequence[str] | None) -> None:
    weight = arrays.get("weight")
    if weight is None or weight.ndim != 2:
        raise InputError(f"{path}: a head needs `weight` (classes x width); see docs/heads.md")
    bias = arrays.get("bias")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise InputError(f"{path}: `bias` is {bias.shape} and should be {weight.shape[:1]}")
    classes = max(2, len(weight))
    if names is not None and len(names) != classes:
        negative = ", the negative one first, as one row is read as two classes" if len(weight) == 1 else ""
        raise InputError(f"{path}: there are {len(names)} class names for {classes} classes{negative}")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise InputError(f"{path}: `{name}` holds {array.dtype}, no numbers")
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(f"{path}: {' and '.join(broken)} hold NaN or infinity")
