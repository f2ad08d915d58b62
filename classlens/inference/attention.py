"""Take part in a model's attention without changing the model.

All supported families compute attention by `torch.nn.functional.scaled_dot_product_attention`, once per block. Catching
that function therefore works for all of them, relative positions, rotary embeddings and query-key norms included: what
is caught already has them applied.

Contexts nest: what the inner one is given computes its outputs and weights as the outer ones would have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
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
        nested: a context around this one takes part, too.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor | None = None
    scale: float | None = None
    nested: bool = False

    def output(self, rows: slice = EVERY, keys: slice = EVERY, *, value: torch.Tensor | None = None) -> torch.Tensor:
        """Return the heads' outputs (n, H, rows, d) of some tokens that attend to some tokens.

        Args:
            rows: the tokens that attend.
            keys: the tokens that they attend to; the weights of these alone sum to one.
            value: values (n, H, T, d) in place of the model's own.
        """
        values = self.value if value is None else value
        if self.nested and (rows, keys) != (EVERY, EVERY):
            # Contexts around this one catch the call, and they know tokens by their places among all.
            hidden = torch.ones(self.key.shape[-2], dtype=torch.bool, device=self.key.device)
            hidden[keys] = False
            return self._call(values, hidden)[:, :, rows]
        bias = self.bias
        if bias is not None and (rows, keys) != (EVERY, EVERY):
            bias = bias.expand(*self.query.shape[:-1], self.key.shape[-2])[:, :, rows, keys]
        return scaled_dot_product_attention(
            self.query[:, :, rows], self.key[:, :, keys], values[:, :, keys], attn_mask=bias, scale=self.scale
        )

    def alone(self, rows: slice = EVERY) -> torch.Tensor:
        """Return the heads' outputs (n, H, rows, d) of some tokens that attend to themselves alone."""
        if not self.nested:
            return self.value[:, :, rows]
        others = ~torch.eye(self.key.shape[-2], dtype=torch.bool, device=self.key.device)
        return self._call(self.value, others)[:, :, rows]

    def weights(self) -> torch.Tensor:
        """Return the attention weights (n, H, T, T); each row sums to one, unless a context around takes some away."""
        if self.nested:
            # What the contexts around make of one value per token are the weights that they give to it.
            count = self.key.shape[-2]
            each = torch.eye(count, dtype=self.value.dtype, device=self.value.device)
            return self.output(value=each.expand(*self.value.shape[:2], count, count))
        scale = self.query.shape[-1] ** -0.5 if self.scale is None else self.scale
        scores = (self.query * scale) @ self.key.transpose(-2, -1)
        return (scores if self.bias is None else scores + self.bias).softmax(-1)

    def _call(self, values: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Return all tokens' outputs where nobody attends to `hidden`, bool (T) or (T, T)."""
        mask = torch.zeros_like(hidden, dtype=self.query.dtype).masked_fill(hidden, float("-inf"))
        bias = mask.expand(len(mask), -1) if self.bias is None else self.bias + mask
        return scaled_dot_product_attention(self.query, self.key, values, attn_mask=bias, scale=self.scale)


Attend = Callable[[int, Attention], torch.Tensor]
"""Called as attend(block, attention); returns the heads' outputs (n, H, T, d), before the branch's projection."""


_patched: ContextVar[tuple[Any, ...]] = ContextVar("patched", default=())
"""The models whose attention is patched, outermost context first."""


@contextmanager
def patch_attention(model: Any, attend: Attend) -> Iterator[None]:
    """Let `attend` compute the attention of every block in the context.

    Args:
        model: a supported timm model.
        attend: takes the place of the fused attention function. What it calls itself is not caught here, but by the
            contexts around this one.
    """
    modules = [block.attn for block in model.blocks]
    fused = [module.fused_attn for module in modules]
    around = _patched.get()
    token = _patched.set((*around, model))
    with ExitStack() as stack:
        stack.callback(_patched.reset, token)
        # Where a user switched fused attention off, timm would not call the function that is caught here.
        stack.callback(_set_fused, modules, fused)
        _set_fused(modules, [True] * len(modules))
        interception = _Interception(attend, nested=any(other is model for other in around))
        for block, module in enumerate(modules):
            stack.callback(module.register_forward_pre_hook(interception.enter(block)).remove)
            stack.callback(module.register_forward_hook(interception.leave, always_call=True).remove)
        with interception:
            yield


class _Interception(TorchFunctionMode):
    """Catches what is called while a block's attention runs, so no other model's, and any number of times."""

    def __init__(self, attend: Attend, *, nested: bool) -> None:
        super().__init__()
        self._attend, self._nested = attend, nested
        self._block: int | None = None

    def enter(self, block: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self._block = block

        return hook

    def leave(self, *_: Any) -> None:
        self._block = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is not scaled_dot_product_attention or self._block is None:
            return func(*args, **given)
        query, key, value = args
        attention = Attention(query, key, value, given.get("attn_mask"), given.get("scale"), self._nested)
        return self._attend(self._block, attention)


def _set_fused(modules: Sequence[Any], values: Sequence[bool]) -> None:
    for module, value in zip(modules, values, strict=True):
        module.fused_attn = value
