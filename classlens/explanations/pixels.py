"""From pixels to the image tokens that are made of them."""

from __future__ import annotations

from typing import Any

import torch

from classlens.models.patch import pixels_of_token


def token_sums(model: Any, values: torch.Tensor) -> torch.Tensor:
    """Sum values (n, 3, H, W) over each token's pixels and channels: (n, P) float32.

    Pixels at the edges that no patch of the supported timm model covers belong to no token.
    """
    (rows, columns), (height, width) = model.patch_embed.grid_size, pixels_of_token(model)
    cut = values[..., : rows * height, : columns * width].float().sum(1)
    return cut.reshape(-1, rows, height, columns, width).sum((2, 4)).flatten(1)
