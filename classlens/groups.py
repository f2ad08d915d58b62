"""Groups of tokens: [CLS], other prefix tokens, image tokens."""

from __future__ import annotations

import numpy as np

from classlens.arrays import Array


def token_groups(tokens: int, prefix: int, *, has_class_token: bool) -> Array:
    """Return the group of each token (T): `cls`, `prefix` or `image`."""
    groups = np.array(["prefix"] * prefix + ["image"] * (tokens - prefix), dtype=object)
    if has_class_token:
        groups[0] = "cls"
    return groups
