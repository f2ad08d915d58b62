"""From an image's pixels to its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from classlens.arrays import Array


def cells(masks: Array, grid: Sequence[int], patch: Sequence[int] | None = None) -> Array:
    """Return masks by token, see docs/method.md (masks and token labels).

    Args:
        masks: (n, H, W).
        grid: rows and columns of image tokens.
        patch: height and width of each, pixels; by default those of tokens that divide the image.

    Returns:
        (n, P, pixels); pixels at the lower and the right edge that no token reaches are in none.
    """
    (rows, columns), (height, width) = grid, patch_of(masks, grid, patch)
    cut = masks[:, : height * rows, : width * columns]
    found = cut.reshape(len(masks), rows, height, columns, width).transpose(0, 1, 3, 2, 4)
    return found.reshape(len(masks), rows * columns, height * width)


def patch_of(masks: Array, grid: Sequence[int], patch: Sequence[int] | None) -> tuple[int, int]:
    """Return height and width of a token, given what `cells` is given."""
    height, width = patch or (length // count for length, count in zip(masks.shape[1:], grid, strict=True))
    return height, width
