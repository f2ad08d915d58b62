"""What is kept of a token's logits: rank and logit of the correct class, and the classes on top."""

from __future__ import annotations

import torch

from classlens.errors import InputError
from classlens.inference.projection import Projection
from classlens.terms import TOP


def rank_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Count the classes with a strictly larger logit.

    Counting takes one pass; sorting all classes to look up one of them would take many.

    Args:
        logits: (..., C).
        target: (..., 1), the logit of the class of interest.

    Returns:
        int32 (...); 0 means that no class is above.
    """
    return (logits > target).sum(-1, dtype=torch.int32)


def summarise(logits: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Reduce logits to what is stored of them.

    Args:
        logits: (n, T, C).
        classes: (n), the correct class of each image.

    Returns:
        rank (n, T) int32, logit (n, T) float32, top5 (n, T, min(5, C)) int64 with the largest logit first; and
        largest (n, T), the largest logit itself.
    """
    target = logits.gather(-1, classes[:, None, None].expand(-1, logits.shape[1], 1))
    top = logits.topk(min(TOP, logits.shape[-1]), dim=-1)
    return {
        "rank": rank_of(logits, target),
        "logit": target[..., 0],
        "top5": top.indices,
        "largest": top.values[..., 0],
    }


def faults(logits: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
    """Tell what is wrong with the logits of one site, without waiting for the device.

    Args:
        logits: (n, T, C).
        largest: (n, T), the largest logit of each token.

    Returns:
        bool (2): some logit is not finite; at every token all logits are equal.
    """
    smallest = logits.amin(-1)
    # NaN counts as largest and infinities are extremes, so these two see every logit.
    finite = torch.isfinite(largest).all() & torch.isfinite(smallest).all()
    flat = (largest == smallest).all() if logits.shape[-1] > 1 else torch.zeros_like(finite)
    return torch.stack([~finite, flat])


def strongest_keys(coefficients: torch.Tensor) -> torch.Tensor:
    """Return the indices (n, T, min(5, M)) of the largest key coefficients (n, T, M), largest first."""
    return coefficients.topk(min(TOP, coefficients.shape[-1]), dim=-1).indices


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
