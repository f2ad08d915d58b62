"""What is kept of a batch while a model runs: ranks, logits, strongest classes and keys at every site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from classlens.arrays import Array
from classlens.extraction.files import OUTPUT, layer_attributes, shard_columns
from classlens.hdf5 import Column, index_dtype
from classlens.inference.activations import capture_activations, key_counts
from classlens.inference.cuda_graph import CudaGraph
from classlens.inference.host import HostCopy
from classlens.inference.projection import Projection
from classlens.inference.ranks import faults, refuse, strongest_keys, summarise_tokens
from classlens.models.device import autocast
from classlens.models.inputs import Normalise, to_device
from classlens.terms import BRANCHES, TOP, block_name

Arrays = dict[str, Array]
ORDER = (*BRANCHES, "residual")
"""A block's sites in the order of the forward pass."""


def shard_rows(kept: Mapping[str, Array]) -> Arrays:
    """Return the rows of a shard from what a `BatchRecorder` returns.

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


class BatchRecorder:
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


class Recorded:
    """What is kept of a batch, on its way from the device into host memory."""

    def __init__(self, kept: Mapping[str, torch.Tensor]) -> None:
        self._copy = HostCopy(kept)

    def arrays(self) -> Arrays:
        """Wait for the device and return the arrays of a shard, see `classlens.extraction.files.shard_columns`.

        Any thread may call it, once or more often.

        Raises:
            InputError: logits are not finite or all equal.
        """
        return shard_rows(self._copy.arrays())


class Recorder:
    """Extraction for scripts of one's own: from stored pixels to the arrays of a shard, batch by batch.

    Args:
        model: a supported model in evaluation mode, on the device of `normalise`.
        normalise: makes inputs of stored pixels.
        precision: see `autocast`.
    """

    def __init__(self, model: Any, normalise: Normalise, precision: str = "float32") -> None:
        self._model, self._normalise, self._precision = model, normalise, precision
        self._record, self._device = BatchRecorder(model), next(model.parameters()).device
        self.num_classes: int = model.num_classes

    @torch.inference_mode()
    def __call__(self, pixels: npt.NDArray[np.uint8] | torch.Tensor, classes: npt.NDArray[np.integer[Any]]) -> Recorded:
        """Extract a batch. On CUDA this returns at once: nothing waits for the device but `Recorded.arrays`.

        Args:
            pixels: (n, H, W, 3).
            classes: (n), the correct class of each image.
        """
        target = to_device(np.asarray(classes, dtype=np.int64), self._device)
        with autocast(self._device, self._precision):
            return Recorded(self._record(self._normalise(pixels), target))

    def columns(self) -> dict[str, Column]:
        """Return the data sets of a shard."""
        tokens = self._model.patch_embed.num_patches + self._model.num_prefix_tokens
        return shard_columns(len(self._model.blocks), tokens, self.num_classes, key_counts(self._model))

    def attributes(self) -> dict[str, Any]:
        """Return the facts about a shard."""
        has_class_token = self._model.cls_token is not None
        return layer_attributes(self.num_classes, self._model.num_prefix_tokens, has_class_token)
