"""Layer files as measures read them: which tokens are which, batch by batch of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from classlens.arrays import Array
from classlens.h5 import h5py
from classlens.hdf5 import iterate_rows
from classlens.progress import Progress

Block = TypeVar("Block", int, str)
"""Its number, or its file."""


@dataclass(frozen=True)
class Layout:
    """What the tokens of a model's layer files are."""

    images: int
    tokens: int
    num_classes: int
    num_prefix_tokens: int
    has_class_token: bool

    @property
    def image_tokens(self) -> slice:
        """The image tokens: all that are not prefix tokens."""
        return slice(self.num_prefix_tokens, self.tokens)

    @property
    def groups(self) -> dict[str, slice]:
        """Token groups of statistics: `cls` (absent without [CLS]) and `image`.

        Registers and distillation tokens belong to neither.
        """
        cls = {"cls": slice(0, 1)} if self.has_class_token else {}
        return {**cls, "image": self.image_tokens}


def read_layout(layer: str) -> Layout:
    """Read the layout from any one layer file of a model."""
    with h5py.File(layer, "r") as file:
        images, tokens = file["residual/rank"].shape
        return Layout(
            images=images,
            tokens=tokens,
            num_classes=int(file.attrs["num_classes"]),
            num_prefix_tokens=int(file.attrs["num_prefix_tokens"]),
            has_class_token=bool(file.attrs["has_class_token"]),
        )


def token_groups(tokens: int, prefix: int, *, has_class_token: bool) -> Array:
    """Return the group of each token (T): `cls`, `prefix` or `image`."""
    groups = np.array(["prefix"] * prefix + ["image"] * (tokens - prefix), dtype=object)
    if has_class_token:
        groups[0] = "cls"
    return groups


def in_turn(blocks: Sequence[Block], doing: str) -> Iterator[Block]:
    """Yield blocks, and report the progress of what is done with them."""
    with Progress(len(blocks), doing, "block") as progress:
        for block in blocks:
            yield block
            progress.advance()


def steps(
    layers: Sequence[str], block: int, before: Sequence[str], here: Sequence[str]
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield the same images from block - 1 and from a block, a batch at a time.

    Args:
        layers: the model's layer files in block order.
        block: 1 or more.
        before, here: data sets to read from either.
    """
    return zip(iterate_rows(layers[block - 1], before), iterate_rows(layers[block], here), strict=True)


def token_mean(values: Array, chosen: Array) -> Array:
    """Average over some of each image's tokens.

    Args:
        values: (n, P).
        chosen: (n, P) bool.

    Returns:
        (n); NaN for an image without a chosen token.
    """
    count = chosen.sum(1)
    total = np.where(chosen, values, 0).sum(1, dtype=np.float64)
    result: Array = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return result
