"""How many images go through a backward pass at once."""

from __future__ import annotations

from classlens.inference.tokens import TokenModel

GRAPH_BYTES = 2**32
"""Memory that a backward pass may take."""


def images_that_fit(tokens: TokenModel) -> int:
    """Return for how many images what a backward pass through all blocks keeps stays within `GRAPH_BYTES`."""
    model, count = tokens.model, tokens.prefix + tokens.patches
    # Per block and token: inputs of both norms, queries, keys, values, outputs and the MLP's hidden layer; per pair of
    # tokens and head: weights, their gradients and one intermediate result.
    width, heads = int(model.embed_dim), int(model.blocks[0].attn.num_heads)
    numbers = count * (12 * width + 3 * heads * count)
    return max(1, GRAPH_BYTES // (4 * len(model.blocks) * numbers))
