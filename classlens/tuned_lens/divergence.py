"""How far a lens is from what the last block says."""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div


def divergence(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return KL(softmax of the last block's logits || softmax of a lens') (...), in nats; 0 where they are equal.

    As Belrose et al. 2023 (arXiv 2303.08112) fit and judge the tuned lens. Rounding makes none of them negative.

    Args:
        target: log-softmax of the last block's logits (..., C).
        logits: the lens' (..., C).
    """
    return kl_div(logits.float().log_softmax(-1), target, reduction="none", log_target=True).sum(-1).clamp(min=0)
