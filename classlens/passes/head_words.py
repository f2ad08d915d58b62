"""How what every head writes varies over images, from which its words are found (docs/method.md, heads in words)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import torch

from classlens.arrays import Array
from classlens.attribution.head_outputs import HeadOutputs, spans_of
from classlens.attribution.words import covariance
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.hdf5 import write_described
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel, Network, load_network
from classlens.passes.base import Sums, Tensors
from classlens.passes.sums import sums_of_all


class OutputSums(Sums):
    """Sums of what heads write, as `HeadOutputs` has it: sum (B, H, F) and product (B, H, F, F), with itself."""

    doing = "reading what heads write"

    def __init__(self, loaded: LoadedModel, images: int) -> None:
        self._outputs = HeadOutputs(loaded.model)
        self._sum = self._product = torch.zeros((), dtype=torch.float64, device=loaded.device)

    def add(self, images: torch.Tensor, start: int) -> None:
        outputs = self._outputs(images).double()
        if not bool(torch.isfinite(outputs).all()):
            raise InputError(
                "heads write what is not finite; check the weights, or set extraction.precision to float32"
            )
        by_head = outputs.permute(1, 2, 0, 3)
        self._sum, self._product = self._sum + outputs.sum(0), self._product + by_head.transpose(-2, -1) @ by_head
        self.count += len(images)

    def totals(self) -> Tensors:
        return {"sum": self._sum, "product": self._product}


def write_spans(
    pixels: str, weights: str, shards: Sequence[str], spans: str, *, batch_size: int, **network: Unpack[Network]
) -> dict[str, Any]:
    """Write in which directions what each head writes varies over images.

    Args:
        pixels: pixel file.
        weights: canonical weights.
        shards: see `classlens.passes.sums.sums_of_all`.
        spans: the file to write: axes (B, H, R, K), variance (B, H, K), trace (B, H), see
            `classlens.attribution.words.Span`, with zeros beyond a head's k axes; classes (C, R), what the model's own
            head reads along.
        batch_size: images per forward pass, at most.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: what heads write is no part of a sum, or is not finite.
    """
    loaded = load_network(weights, **network)
    with frozen_eval_mode(loaded.model):
        summed = sums_of_all(OutputSums, loaded, pixels, shards, batch_size)
        outputs = HeadOutputs(loaded.model)
        covered = covariance(summed.totals["sum"], summed.totals["product"], summed.count)
        found = spans_of(outputs, covered)
        classes = outputs.rows().float().cpu().numpy()
    most = max(len(span.variance) for block in found for span in block)
    shape = (len(found), len(found[0]))
    axes = np.zeros((*shape, classes.shape[1], most), np.float32)
    variance, trace = np.zeros((*shape, most)), np.zeros(shape)
    for place in np.ndindex(shape):
        span = found[place[0]][place[1]]
        axes[place][:, : len(span.variance)] = span.axes
        variance[place][: len(span.variance)], trace[place] = span.variance, span.trace
    told: dict[str, tuple[Array, str]] = {
        "axes": (axes, "leading principal axes of what a head writes into what the model's head reads, in columns"),
        "variance": (variance, "variance of what a head writes along each axis, over images"),
        "trace": (trace, "variance of what a head writes along all axes, over images"),
        "classes": (classes, "rows of the model's head"),
    }
    with h5py.File(spans, "w") as file:
        write_described(file, told)
    return loaded.provenance()
