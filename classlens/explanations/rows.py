"""Attention weights of all blocks, and rows of products of such matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from classlens.inference.attention import Attention, patch_attention
from classlens.inference.tokens import TokenModel


@torch.no_grad()
def mean_weights(tokens: TokenModel, images: torch.Tensor) -> list[torch.Tensor]:
    """Return the attention weights (n, T, T) of every block, averaged over heads, for images (n, 3, H, W)."""
    means: list[torch.Tensor] = []

    def attend(_block: int, attention: Attention) -> torch.Tensor:
        weights = attention.weights()
        means.append(weights.mean(1))
        return weights.to(attention.value.dtype) @ attention.value

    embedded = tokens.embed(images)
    with patch_attention(tokens.model, attend):
        tokens.residual(embedded)
    return means


def class_token_row(matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the [CLS] row (n, T) of (I + M_B) ... (I + M_1), given M_1 to M_B, (n, T, T) each.

    A row is a vector, so it is carried from the last block to the first, one product of a vector with a matrix each.
    """
    first = matrices[0]
    row = first.new_zeros(len(first), 1, first.shape[-1])
    row[:, :, 0] = 1
    for matrix in reversed(matrices):
        row = row + row @ matrix
    return row[:, 0]
