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
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from classlens.errors import InputError
from classlens.inference.guard import Guard, finishing, guarded, recomputed

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


_patched: ContextVar[tuple[_Interception, ...]] = ContextVar("patched", default=())
"""Those that are under way, outermost context first."""
_attending: ContextVar[bool] = ContextVar("attending", default=False)
"""What is caught was asked for by a context further inside, not by the model."""


@contextmanager
def patch_attention(model: Any, attend: Attend) -> Iterator[None]:
    """Let `attend` compute the attention of every block in the context.

    Args:
        model: a supported timm model.
        attend: takes the place of the fused attention function. What it calls itself is not caught here, but by the
            contexts around this one.

    Raises:
        InputError: the attention of a block was not reached exactly once whenever the block ran, see `guard.guarded`.
    """
    modules = [block.attn for block in model.blocks]
    with ExitStack() as stack:
        # Where a user switched fused attention off, timm would not call the function that is caught here.
        switched = [module for module in modules if hasattr(module, "fused_attn")]
        stack.callback(_set_fused, switched, [module.fused_attn for module in switched])
        _set_fused(switched, [True] * len(switched))
        guard = stack.enter_context(guarded(model))
        around = _patched.get()
        interception = _Interception(model, attend, guard, [one for one in around if one.model is model])
        stack.callback(_patched.reset, _patched.set((*around, interception)))
        for block, module in enumerate(modules):
            guard.expect(block, "the attention", "attn", module)
            stack.callback(module.register_forward_pre_hook(interception.enter(block)).remove)
            stack.callback(module.register_forward_hook(interception.leave, always_call=True).remove)
        stack.enter_context(finishing(model, guard))
        with interception:
            yield


@contextmanager
def patch_pool(model: Any, attend: Callable[[Attention], torch.Tensor]) -> Iterator[None]:
    """Let `attend` compute the attention of the model's attention pool in the context, whenever the pool runs.

    Args:
        model: a supported timm model; one without an attention pool is left as it is.
        attend: called with queries (n, H, L, d) of the pool's L latents (of its tokens, where it has none), and keys
            and values (n, H, K, d) of the K tokens that it pools; returns the heads' outputs (n, H, L, d).

    Raises:
        InputError: the pool ran, and its attention was not reached.
    """
    pool = getattr(model, "attn_pool", None)
    if pool is None:
        yield
        return
    with ExitStack() as stack:
        stack.callback(_set_fused, [pool], [getattr(pool, "fused_attn", True)])
        _set_fused([pool], [True])
        interception = _PoolInterception(attend)
        stack.callback(pool.register_forward_pre_hook(interception.enter).remove)
        stack.callback(pool.register_forward_hook(interception.leave).remove)
        with interception:
            yield


class _PoolInterception(TorchFunctionMode):
    """Catches what is called while an attention pool runs, see `_Interception`."""

    def __init__(self, attend: Callable[[Attention], torch.Tensor]) -> None:
        super().__init__()
        self._attend, self._due = attend, False

    def enter(self, *_: Any) -> None:
        self._due = True

    def leave(self, *_: Any) -> None:
        if self._due:
            raise InputError(
                "the attention pool does not compute its attention by torch's scaled_dot_product_attention, so it can "
                "be neither read nor changed; take timm's AttentionPoolLatent"
            )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is not scaled_dot_product_attention or not self._due:
            return func(*args, **given)
        self._due = False
        query, key, value = args[:3]
        return self._attend(Attention(query, key, value, given.get("attn_mask"), given.get("scale")))


class _Interception(TorchFunctionMode):
    """Catches what is called while a block's attention runs, so no other model's, and any number of times.

    A function mode rather than another function in torch's namespace: it also catches modules that imported the
    function by name, it holds for this thread alone, and nothing has to be put back.
    """

    def __init__(self, model: Any, attend: Attend, guard: Guard, around: list[_Interception]) -> None:
        super().__init__()
        self.model, self.guard = model, guard
        self._attend, self._around = attend, around
        self._block: int | None = None

    def enter(self, block: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if recomputed() and not any(mode is self for mode in _get_current_function_mode_stack()):  # type: ignore[no-untyped-call]
                raise InputError(
                    f"block {block} is computed again in the backward pass, where its attention cannot be reached; "
                    f"switch gradient checkpointing off"
                )
            running = self.guard.block
            # Blocks may share a module; and what is checkpointed inside a block runs again without the block.
            self._block = block if running is None else running

        return hook

    def leave(self, *_: Any) -> None:
        self._block = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is not scaled_dot_product_attention or self._block is None:
            return func(*args, **given)
        attention = _attention(self._block, bool(self._around), *args, **given)
        if _attending.get():
            return self._attend(self._block, attention)
        # Counted here, once for all contexts: `attend` may call the function never or several times. What it calls
        # does not come back to this mode, since torch takes a mode off its stack while that mode answers.
        for one in (*self._around, self):
            one.guard.see("the attention")
        token = _attending.set(True)
        try:
            return self._attend(self._block, attention)
        finally:
            _attending.reset(token)


def _attention(
    block: int,
    nested: bool,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Attention:
    """Return what the arguments of `scaled_dot_product_attention` say.

    Raises:
        InputError: there is more to it than `Attention` says.
    """
    if query.ndim != 4 or query.shape[:3] != value.shape[:3] or key.shape != query.shape or dropout_p or enable_gqa:
        raise InputError(
            f"the attention of block {block} is none of (n, heads, tokens, width) among tokens of one image, each head "
            f"with keys and values of its own and without dropout, so it can be neither read nor changed; take timm's"
        )
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, float("-inf"))
    return Attention(query, key, value, attn_mask, scale, nested)


def _set_fused(modules: Sequence[Any], values: Sequence[bool]) -> None:
    for module, value in zip(modules, values, strict=True):
        module.fused_attn = value
