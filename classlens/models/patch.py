"""Which pixels belong to an image token."""

from __future__ import annotations

from typing import Any

from timm.layers.patch_embed import PatchEmbed


def pixels_of_token(model: Any) -> tuple[int, int]:
    """Return height and width of an image token, pixels.

    Token (r, c) has the rows from r height on and the columns from c width on, as timm's convolution of that stride:
    what is left over at the lower and the right edge belongs to no token.
    """
    embedding = model.patch_embed
    if isinstance(embedding, PatchEmbed):
        height, width = embedding.patch_size
    else:  # A convolutional stem: its cells divide the image.
        height, width = (size // count for size, count in zip(embedding.img_size, embedding.grid_size, strict=True))
    return int(height), int(width)
