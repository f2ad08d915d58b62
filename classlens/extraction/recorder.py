"""What is kept of a batch while a model runs: ranks, logits, strongest classes and keys at every site."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from classlens.models.inputs import to_device
from classlens.terms import BRANCHES, TOP, block_name

Arrays = dict[str, Array]
ORDER = (*BRANCHES, "residual")
"""A block's sites in the order of the forward pass."""


class Recorded:
    """What is kept of a batch, on its way from the device into host memory.

    Args:
        kept: what `Recorder.record` returns.
    """

    def __init__(self, kept: Mapping[str, torch.Tensor]) -> None:
        self._copy = HostCopy(kept)

    def arrays(self) -> Arrays:
        """Wait for the device and return the arrays of a shard, see `classlens.extraction.files.shard_columns`.

        Any thread may call it, once or more often.

        Raises:
            InputError: logits are not finite or all equal.
        """
        return shard_rows(self._copy.arrays())


def shard_rows(kept: Mapping[str, Array]) -> Arrays:
    """Return the rows of a shard from what `Recorder.record` returns.

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
        normalise: makes inputs of stored pixels, e.g. `classlens.models.inputs.Normalise`.
        precision: see `autocast`.
    """

    def __init__(
        self, model: Any, normalise: Callable[[torch.Tensor], torch.Tensor], precision: str = "float32"
    ) -> None:
        self._model, self._normalise, self._precision = model, normalise, precision
        self._project, self._record = Projection(model), CudaGraph(self._of_batch)
        self._device = next(model.parameters()).device
        self.key_counts = key_counts(model)
        """Memories per branch."""
        self.num_classes: int = model.num_classes
        self.num_prefix_tokens: int = model.num_prefix_tokens
        self.tokens: int = model.patch_embed.num_patches + model.num_prefix_tokens
        self.has_class_token = model.cls_token is not None

    @torch.inference_mode()
    def __call__(self, pixels: npt.NDArray[np.uint8] | torch.Tensor, classes: npt.NDArray[np.integer[Any]]) -> Recorded:
        """Extract a batch. On CUDA this returns at once: nothing waits for the device but `Recorded.arrays`.

        Args:
            pixels: (n, H, W, 3).
            classes: (n), the correct class of each image.
        """
        target = to_device(np.asarray(classes, dtype=np.int64), self._device)
        return Recorded(self.record(to_device(pixels, self._device), target))

    @torch.inference_mode()
    def record(self, pixels: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what is kept of a batch, on the device: by name (B, n, ...), of the output (n, ...), and `wrong`.

        Args:
            pixels: what `normalise` takes, on the device.
            target: (n) int64, the correct classes.
        """
        return self._record(pixels, target)

    def _of_batch(self, pixels: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what is kept of a batch: tensors (B, n, ...) by name, those of the output (n, ...), and `wrong`."""
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

        with capture_activations(self._model, site, key), autocast(self._device, self._precision):
            logits = self._model(self._normalise(pixels)).float()
        extremes = [(kept.pop(f"{name}/largest"), kept.pop(f"{name}/smallest")) for name in ORDER]
        wrong = torch.stack([faults(largest, smallest, self.num_classes) for largest, smallest in extremes], dim=1)
        top = logits.topk(min(TOP, logits.shape[-1]), dim=-1).indices
        output = {"class_index": target, "correct": top[:, 0] == target, "top5": top}
        kept |= {f"{OUTPUT}/{name}": values.to(self._stored_type(name, values)) for name, values in output.items()}
        return {**kept, "wrong": wrong}

    def columns(self) -> dict[str, Column]:
        """Return the data sets of a shard."""
        return shard_columns(len(self._model.blocks), self.tokens, self.num_classes, self.key_counts)

    def attributes(self) -> dict[str, Any]:
        """Return the facts about a shard."""
        return layer_attributes(self.num_classes, self.num_prefix_tokens, self.has_class_token)

    def _stored_type(self, name: str, values: torch.Tensor) -> torch.dtype:
        """Return the type of a column: that of indices, where values are integers."""
        if values.is_floating_point() or values.dtype == torch.bool:
            return values.dtype
        group, _, branch = name.partition("/")
        count = self.key_counts[branch] if group == "keys" else self.num_classes
        kind: torch.dtype = getattr(torch, index_dtype(count).name)
        return kind
