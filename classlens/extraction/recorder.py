"""What is kept of a batch while a model runs: ranks, logits, strongest classes and keys at every site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from classlens.arrays import Array
from classlens.extraction.files import OUTPUT
from classlens.hdf5 import index_dtype
from classlens.inference.activations import capture_activations, key_counts
from classlens.inference.cuda_graph import CudaGraph
from classlens.inference.projection import Projection
from classlens.inference.ranks import faults, refuse, strongest_keys, summarise_tokens
from classlens.terms import BRANCHES, TOP, block_name

Arrays = dict[str, Array]
ORDER = (*BRANCHES, "residual")
"""A block's sites in the order of the forward pass."""


def shard_rows(kept: Mapping[str, Array]) -> Arrays:
    """Return the rows of a shard from what a `Recorder` returns.

    Raises:
        InputError: logits are not finite or all equal.
    """
    _refuse(kept["wrong"])
    output = {name: values for name, values in kept.items() if name.startswith(f"{OUTPUT}/")}
    of_blocks = {name: values for name, values in kept.items() if name not in ("wrong", *output)}
    rows = {f"{block_name(b)}/{name}": values[b] for name, values in of_blocks.items() for b in range(len(values))}
    return rows | output


def _refuse(wrong: npt.NDArray[np.bool_]) -> None:
    """Raise for the first faulty site of the forward pass; see `faults`, bool (B, 3, 2), by the sites in `ORDER`."""
    if not wrong.any():
        return
    block, site = (int(index[0]) for index in np.nonzero(wrong.any(-1)))
    not_finite, flat = wrong[block, site].tolist()
    refuse(not_finite, flat, f"{ORDER[site]} of block {block}")


class Recorder:
    """Runs a batch through a model and keeps what docs/method.md names; nothing outlives the batch.

    Args:
        model: a supported model in evaluation mode, on its device.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._project, self._record = model, Projection(model), CudaGraph(self._of_batch)
        self._key_counts = key_counts(model)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what is kept of a batch, on the device: by name (B, n, ...), of the output (n, ...), and `wrong`.

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n) int64, the correct ones.
        """
        return self._record(images, classes)

    def _of_batch(self, images: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        kept: dict[str, torch.Tensor] = {}

        def keep(block: int, name: str, values: torch.Tensor) -> None:
            # Written where they go together and in the stored type: one pass here, one transfer per quantity later.
            if name not in kept:
                shape = (len(self._model.blocks), *values.shape)
                kept[name] = torch.empty(shape, dtype=self._stored_type(name, values), device=values.device)
            kept[name][block] = values

        def site(block: int, name: str, tokens: torch.Tensor) -> None:
            for quantity, values in summarise_tokens(self._project, tokens, target).items():
                keep(block, f"{name}/{quantity}", values)
            if name == "residual":
                keep(block, "residual/norm", torch.linalg.vector_norm(tokens, dim=-1, dtype=torch.float32))

        def key(block: int, name: str, coefficients: torch.Tensor) -> None:
            keep(block, f"keys/{name}", strongest_keys(coefficients))

        with capture_activations(self._model, site, key):
            logits = self._model(images).float()
        extremes = [(kept.pop(f"{name}/largest"), kept.pop(f"{name}/smallest")) for name in ORDER]
        classes = self._model.num_classes
        wrong = torch.stack([faults(largest, smallest, classes) for largest, smallest in extremes], dim=1)
        top = logits.topk(min(TOP, logits.shape[-1]), dim=-1).indices
        output = {"class_index": target, "correct": top[:, 0] == target, "top5": top}
        kept |= {f"{OUTPUT}/{name}": values.to(self._stored_type(name, values)) for name, values in output.items()}
        return {**kept, "wrong": wrong}

    def _stored_type(self, name: str, values: torch.Tensor) -> torch.dtype:
        """Return the type of a column: that of indices, where values are integers."""
        if values.is_floating_point() or values.dtype == torch.bool:
            return values.dtype
        group, _, branch = name.partition("/")
        count: int = self._key_counts[branch] if group == "keys" else self._model.num_classes
        kind: torch.dtype = getattr(torch, index_dtype(count).name)
        return kind
