"""Change what a model computes on the way: what a site adds, what a head puts out. Afterwards it is as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from classlens.inference.activations import site_spot
from classlens.inference.attention import Attend, Attention
from classlens.inference.guard import watch


@contextmanager
def patch_tokens(model: Any, site: str, block: int, tokens: Sequence[int], values: torch.Tensor) -> Iterator[None]:
    """Put values in place of some tokens of a site of a supported timm model, in every forward pass in the context.

    `capture_activations` sees them where its context lies within this one.

    Args:
        site: residual, attn or mlp; of a branch, what it adds to the residual stream is replaced.
        block: from 0.
        tokens: their places among all T.
        values: broadcast to (n, tokens, D).

    Raises:
        InputError: the site was not reached exactly once in a forward pass.
    """
    places = list(tokens)

    def put(_block: int, output: torch.Tensor) -> torch.Tensor:
        patched = output.clone()
        patched[:, places] = values.to(output)
        return patched

    with watch(model, site_spot(site, put, [block])):
        yield


def ablate_heads(values: Mapping[tuple[int, int], torch.Tensor]) -> Attend:
    """Return what computes attention, for `patch_attention`, with fixed outputs of some heads.

    Args:
        values: by block and head, what the head puts out, broadcast to (n, T, d).
    """

    def attend(block: int, attention: Attention) -> torch.Tensor:
        output = attention.output()
        of_block = {head: value for (place, head), value in values.items() if place == block}
        if not of_block:
            return output
        ablated = output.clone()
        for head, value in of_block.items():
            ablated[:, head] = value.to(output)
        return ablated

    return attend
