"""Cut probes into groups whose sums fit into memory together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from classlens.terms import SITES

BYTES = 8
"""Of a float64 number."""


@dataclass(frozen=True)
class Part:
    """Some tokens at one site of one block."""

    site: str
    block: int
    tokens: tuple[int, ...]


def bytes_per_token(width: int, classes: int, batch: int) -> int:
    """Return what one token's ridge takes: Gram matrix, class sums and the features of a batch of images."""
    return BYTES * width * (width + classes + batch)


def plan(probes: Sequence[tuple[str, int]], tokens: Sequence[int], token_bytes: int, limit: int) -> list[list[Part]]:
    """Return the groups of probes, (site, block), each to be fitted in passes of its own.

    Blocks come in order, because a pass can stop after the last block that it needs. A group may take `limit` bytes,
    one token taking `token_bytes`, but takes one token at least.
    """
    ordered = sorted(probes, key=lambda probe: (probe[1], SITES.index(probe[0])))
    room = max(1, limit // token_bytes)
    groups: list[list[Part]] = []
    left = 0
    for site, block in ordered:
        start = 0
        while start < len(tokens):
            if not left:
                groups.append([])
                left = room
            stop = min(start + left, len(tokens))
            groups[-1].append(Part(site, block, tuple(tokens[start:stop])))
            left -= stop - start
            start = stop
    return groups
