"""Norms that are frozen at what they see on an image, which makes them linear.

A norm is norm(x) = s(x) M x + bias, with a number s(x) per token and a matrix M that is the same for all tokens: for
LayerNorm s = 1 / standard deviation and M x = weight * (x - mean(x)), for RMSNorm s = 1 / root mean square and M x =
weight * x. Frozen, s is the number that belongs to the token, whatever M is applied to.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.norm import RmsNorm, RmsNormFp32, SimpleNorm, SimpleNormFp32
from torch import nn

from classlens.errors import InputError

_RMS, _SIMPLE = (RmsNorm, RmsNormFp32), (SimpleNorm, SimpleNormFp32)
_KNOWN = (nn.LayerNorm, *_RMS, *_SIMPLE)


class FrozenNorm:
    """A norm taken apart.

    Args:
        module: a norm over the last axis; None or the identity for no norm.
        place: where it stands, for messages.

    Raises:
        InputError: it is a norm of another kind.
    """

    def __init__(self, module: Any, place: str) -> None:
        self.module = None if isinstance(module, nn.Identity) else module
        if self.module is not None and not isinstance(self.module, _KNOWN):
            raise InputError(
                f"direct logit attribution does not apply: {place} is {type(module).__name__}, which is no linear "
                f"function of a token up to one number; it takes LayerNorm and RMSNorm"
            )

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """Return s(x) (...) of tokens (..., D)."""
        if self.module is None:
            return x.new_ones(x.shape[:-1])
        if isinstance(self.module, _RMS):
            spread = x.square().mean(-1)
        else:
            spread = x.var(-1, correction=1 if isinstance(self.module, _SIMPLE) else 0)
        return torch.rsqrt(spread + self.module.eps)

    def pull_back(self, w: torch.Tensor) -> torch.Tensor:
        """Return w' (..., D) with w' . x = w . M x for every x."""
        if self.module is None:
            return w
        if self.module.weight is not None:
            w = w * self.module.weight
        return w - w.mean(-1, keepdim=True) if isinstance(self.module, nn.LayerNorm) else w

    def bias(self, w: torch.Tensor) -> torch.Tensor:
        """Return w . bias (...)."""
        bias = getattr(self.module, "bias", None)
        return w.new_zeros(w.shape[:-1]) if bias is None else w @ bias.to(w.dtype)
