"""What norms, and the weights of an attention pool, are on an image, which frozen make the way to the logit linear."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from operator import attrgetter
from typing import Any

import torch

from classlens.attribution.branches import Branch
from classlens.attribution.norms import FrozenNorm
from classlens.attribution.readouts import Readout
from classlens.inference.attention import Attention, patch_pool
from classlens.inference.guard import Spot, watch


class Frozen:
    """What is frozen at what one forward pass of n images shows of one readout; Q destinations, its tokens.

    `norm` is the last one, and there is a branch for each block.
    """

    def __init__(self, norm: FrozenNorm, readout: Readout, branches: Sequence[Branch], images: int) -> None:
        self.norm, self.readout, self.branches = norm, readout, branches
        weight = readout.weight
        self._dtype = torch.promote_types(weight.dtype, torch.float32)
        ones = torch.ones(images, readout.count, dtype=self._dtype, device=weight.device)
        self._scales = [ones] * len(branches)
        self._post_scales = [ones] * len(branches)
        self._pooled = ones[:, 0]
        self._shares: torch.Tensor | None = None

    def read_inner(self, heads: torch.Tensor, block: int) -> None:
        """Keep the scale of the norm inside the attention, given what it sees (n, T, D)."""
        self._scales[block] = self.branches[block].inner.scale(self._destinations(heads))

    def read_post(self, projected: torch.Tensor, block: int) -> None:
        """Keep the scale of the norm after the attention, given what it sees (n, T, D)."""
        self._post_scales[block] = self.branches[block].post.scale(self._destinations(projected))

    def read_last(self, residual: torch.Tensor, _block: int) -> None:
        """Keep the scale of the last norm at the destinations (n, Q)."""
        self._last = self.norm.scale(self._destinations(residual))

    def read_pooled(self, pooled: torch.Tensor) -> None:
        """Keep the scale of the norm after the pooling (n), given what it sees (n, D)."""
        self._pooled = self.readout.pooled_norm.scale(pooled.to(self._dtype))

    def read_pool(self, weights: torch.Tensor) -> None:
        """Keep what the head of the pool attends to (n, Q)."""
        self._shares = weights.to(self._dtype)

    def weight(self) -> torch.Tensor:
        """Return by what each destination's last residual counts (n, Q), once the forward pass is over."""
        weight = self._last * self._pooled[:, None]
        return weight / self.readout.count if self._shares is None else weight * self._shares

    def _destinations(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, self.readout.tokens].to(self._dtype)


def spot(
    name: str, passes: Sequence[Any], read: Callable[[Any, torch.Tensor, int], None], before: bool, blocks: list[int]
) -> Spot:
    """Return where read(one, values, block) gets, for every pass, what goes into a module of blocks or comes out."""

    def seen(block: int, values: torch.Tensor) -> None:
        for one in passes:
            read(one, values, block)

    return Spot(name, attrgetter(name) if name else lambda block: block, seen, before, blocks)


@contextmanager
def freezing(model: Any, branches: Sequence[Branch], passes: Sequence[Frozen], *more: Spot) -> Iterator[None]:
    """Show the passes of a model what it computes in the context, and other readers what else they want to see."""

    def pooled_of(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        for one in passes:
            one.read_pooled(inputs[0])

    def attend_in_pool(attention: Attention) -> torch.Tensor:
        # In full precision whatever autocast does, as attention that is attributed.
        dtype = torch.promote_types(passes[0].readout.weight.dtype, torch.float32)
        with torch.autocast(attention.query.device.type, enabled=False):
            exact = replace(attention, query=attention.query.to(dtype), key=attention.key.to(dtype)).weights()
        read = exact.mean(2) if model.attn_pool.pool == "avg" else exact[:, :, 0]
        for one, weights in zip(passes, read.unbind(1), strict=True):
            one.read_pool(weights)
        return exact.to(attention.value.dtype) @ attention.value

    inner = [number for number, branch in enumerate(branches) if branch.inner.module is not None]
    post = [number for number, branch in enumerate(branches) if branch.post.module is not None]
    spots = [
        spot("attn.norm", passes, Frozen.read_inner, True, inner),
        spot("norm1", passes, Frozen.read_post, True, post),
        spot("", passes, Frozen.read_last, False, [len(branches) - 1]),
    ]
    with ExitStack() as stack:
        stack.enter_context(patch_pool(model, attend_in_pool))
        if (norm := passes[0].readout.pooled_norm.module) is not None:
            stack.callback(norm.register_forward_pre_hook(pooled_of).remove)
        stack.enter_context(watch(model, *spots, *more))
        yield
