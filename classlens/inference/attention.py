"""Take part in a model's attention without changing the model.

All supported families compute attention by `torch.nn.functional.scaled_dot_product_attention`, once per block and in
the order of the blocks. Catching that function therefore works for all of them, relative positions, rotary
embeddings and query-key norms included: what is caught already has them applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

EVERY = slice(None)


@dataclass(frozen=True)
class Attention:
    """What one block's attention is computed from.

    Attributes:
        query, key, value: (n, H, T, d).
        bias: what is added to the scores before the softmax, broadcast to (n, H, T, T); None for nothing.
        scale: factor of the scores; None for 1 / sqrt(d).
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor | None = None
    scale: float | None = None

    def output(self, rows: slice = EVERY, keys: slice = EVERY, *, value: torch.Tensor | None = None) -> torch.Tensor:
        """Return the heads' outputs (n, H, rows, d) of some tokens that attend to some tokens.

        Args:
            rows: the tokens that attend.
            keys: the tokens that they attend to; the weights of these alone sum to one.
            value: values (n, H, T, d) in place of the model's own.
        """
        bias = self.bias
        if bias is not None and (rows, keys) != (EVERY, EVERY):
            bias = bias.expand(*self.query.shape[:-1], self.key.shape[-2])[:, :, rows, keys]
        values = self.value if value is None else value
        return scaled_dot_product_attention(
            self.query[:, :, rows], self.key[:, :, keys], values[:, :, keys], attn_mask=bias, scale=self.scale
        )

    def weights(self) -> torch.Tensor:
        """Return the attention weights (n, H, T, T); each row sums to one."""
        scale = self.query.shape[-1] ** -0.5 if self.scale is None else self.scale
        scores = (self.query * scale) @ self.key.transpose(-2, -1)
        return (scores if self.bias is None else scores + self.bias).softmax(-1)


Attend = Callable[[int, Attention], torch.Tensor]
"""Called as attend(block, attention); returns the heads' outputs (n, H, T, d), before the branch's projection."""


@contextmanager
def patch_attention(model: Any, attend: Attend) -> Iterator[None]:
    """Let `attend` compute the attention of every block in the context.

    Args:
        model: a supported timm model.
        attend: takes the place of the fused attention function. What it calls itself is not caught.
    """
    modules = [block.attn for block in model.blocks]
    fused = [module.fused_attn for module in modules]
    try:
        # Where a user switched fused attention off, timm would not call the function that is caught here.
        _set_fused(modules, [True] * len(modules))
        with _Interception(len(modules), attend):
            yield
    finally:
        _set_fused(modules, fused)


class _Interception(TorchFunctionMode):
    def __init__(self, depth: int, attend: Attend) -> None:
        super().__init__()
        self._depth, self._attend, self._calls = depth, attend, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is not scaled_dot_product_attention:
            return func(*args, **given)
        block = self._calls % self._depth
        self._calls += 1
        query, key, value = args
        return self._attend(block, Attention(query, key, value, given.get("attn_mask"), given.get("scale")))


def _set_fused(modules: Sequence[Any], values: Sequence[bool]) -> None:
    for module, value in zip(modules, values, strict=True):
        module.fused_attn = value
