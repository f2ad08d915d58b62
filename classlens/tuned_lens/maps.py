"""Affine maps of residuals, as they are applied and as files keep them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import linear

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.h5 import h5py


class Maps:
    """h -> h + M h + m for the residual of each block.

    Args:
        weight: M (B, D, D) float32; that of a block whose residual is left as it is is zero, as is its m.
        bias: m (B, D) float32.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.weight, self.bias = weight, bias
        self.changes = (weight.flatten(1).any(1) | bias.any(1)).tolist()
        """Bool by block: the map is not the identity."""

    def __len__(self) -> int:
        """Return B."""
        return len(self.weight)

    def to(self, device: torch.device) -> Maps:
        """Return the maps on a device."""
        return Maps(self.weight.to(device), self.bias.to(device))

    def __call__(self, block: int, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (..., D) of a block's residual, in float32; where M and m are zero they come back as they are."""
        if not self.changes[block]:
            return tokens
        with torch.autocast(tokens.device.type, enabled=False):
            h = tokens.float()
            weight, bias = (part[block].to(h.device) for part in (self.weight, self.bias))
            return (h + linear(h, weight, bias)).to(tokens.dtype)


def read_maps(tuned: str | Path | Sequence[str | Path], blocks: int, width: int, num_classes: int) -> Maps:
    """Read the maps of a model's tuned lens.

    Args:
        tuned: the folder `results/{model}/tuned_lens`, or its files in block order.
        blocks, width, num_classes: B, D and C of the model that they are for.

    Raises:
        InputError: a file is missing, is no file of a tuned lens, or belongs to another block or another model; the
            message names it.
    """
    given = Path(tuned).glob("block_*.h5") if isinstance(tuned, str | Path) else map(Path, tuned)
    paths = sorted(given) if isinstance(tuned, str | Path) else list(given)
    if len(paths) != blocks:
        where = f"{tuned} has" if isinstance(tuned, str | Path) else "tuned is"
        raise InputError(
            f"{where} {len(paths)} files of blocks, but the model has {blocks}; give the folder "
            "results/MODEL/tuned_lens of a run of this model, or all its files in block order"
        )
    found = [_read(path, block) for block, path in enumerate(paths)]
    for path, (_, bias, classes) in zip(paths, found, strict=True):
        if (len(bias), classes) != (width, num_classes):
            raise InputError(
                f"{path} is of a model of width {len(bias)} with {classes} classes, but this one has width {width} and "
                f"{num_classes} classes; give the tuned lens of this model"
            )
    return Maps(*(torch.from_numpy(np.stack(parts)) for parts in list(zip(*found, strict=True))[:2]))


def _read(path: Path, block: int) -> tuple[Array, Array, int]:
    """Return M (D, D), m (D) and the number of classes of a file that has to be a block's."""
    try:
        with h5py.File(path, "r") as file:
            weight, bias = (np.asarray(file[name], np.float32) for name in ("weight", "bias"))
            own, classes = int(file.attrs["block"]), int(file.attrs["num_classes"])
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path} is no file of a tuned lens ({error}); give those of results/MODEL/tuned_lens"
        ) from None
    if own != block:
        raise InputError(f"{path} is of block {own}, where that of block {block} is due; give all files in block order")
    if bias.ndim != 1 or weight.shape != 2 * bias.shape or not np.isfinite(weight).all():
        raise InputError(
            f"{path}: weight {weight.shape} and bias {bias.shape} are no (D, D) and (D) numbers; make it again"
        )
    return weight, bias, classes
