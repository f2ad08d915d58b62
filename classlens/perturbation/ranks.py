"""Ranks at the last block, which perturbations are measured by."""

from __future__ import annotations

import torch

from classlens.errors import InputError
from classlens.extraction.heads import Projection
from classlens.extraction.measure import faults, rank_of


def rank_tokens(project: Projection, residual: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the rank (n, T) int32 of every token's class of interest, 0 being on top.

    Args:
        project: into class embedding space.
        residual: (n, T, D), finite wherever a rank counts.
        classes: (n).

    Raises:
        InputError: logits are not finite or all equal.
    """
    logits = project(residual)
    not_finite, flat = faults(logits, logits.amax(-1)).tolist()
    if not_finite:
        raise InputError("logits are not finite; check the weights, or set extraction.precision to float32")
    if flat:
        raise InputError("all logits of every token are equal; the model's head is zero or was never trained")
    return rank_of(logits, logits.gather(-1, classes[:, None, None].expand(-1, logits.shape[1], 1)))
