"""Launch the same kernels again without Python: CUDA graphs."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

log = logging.getLogger(__name__)
Tensors = dict[str, torch.Tensor]
Function = Callable[..., Tensors]


class CudaGraph:
    """A function of tensors whose kernels CUDA records once and then launches together, batch after batch.

    A fast GPU is done with a batch sooner than Python is with asking for its kernels. On other devices, and for batches
    of another size, the function itself is called; so it is for good where it turns out that it cannot be recorded.

    Args:
        function: makes tensors by name of tensors. What it does follows from the tensors' shapes and types alone, and
            it does not wait for the device.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._records = True
        self._graph: Any = None
        self._inputs: list[torch.Tensor] = []
        self._outputs: Tensors = {}
        self._before: list[object] = []

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """Return what the function returns; the caller may keep it."""
        if not self._records or not all(map(_on_cuda, inputs)):
            return self._function(*inputs)
        kinds, before = _kinds(inputs), self._before
        self._before = kinds
        # The first batch chooses and compiles kernels, which cannot be recorded; a second one shows that it pays.
        if kinds == before and kinds != _kinds(self._inputs):
            self._record(inputs)
        if self._graph is None or kinds != _kinds(self._inputs):
            return self._function(*inputs)
        # A graph reads and writes the memory that it was recorded with, batch after batch. So inputs are copied there,
        # and outputs from there, or the next batch would overwrite what the caller keeps.
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return {name: values.clone() for name, values in self._outputs.items()}

    def _record(self, inputs: Sequence[torch.Tensor]) -> None:
        self._graph, self._inputs, self._outputs = None, [], {}
        kept = [one.clone() for one in inputs]
        try:
            self._graph, self._outputs = _recorded(self._function, kept)
            self._inputs = kept
        except RuntimeError as error:
            log.info("kernels are launched one by one, since they cannot be recorded: %s", error)
            self._records = False


def _on_cuda(values: torch.Tensor) -> bool:
    return values.is_cuda


def _kinds(tensors: Sequence[torch.Tensor]) -> list[object]:
    return [(one.shape, one.dtype) for one in tensors]


def _recorded(function: Function, inputs: Sequence[torch.Tensor]) -> tuple[Any, Tensors]:
    """Return a graph of the function's kernels, and the outputs that each replay of it writes anew."""
    gc.collect()  # an earlier graph that were thrown away meanwhile would end the recording
    graph = torch.cuda.CUDAGraph()
    # Other threads read and pack meanwhile; what they ask of the device must not end the recording either.
    with torch.cuda.device(inputs[0].device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        return graph, function(*inputs)
