"""Norms that are frozen at what they see on an image, which makes them linear.

A norm is norm(x) = s(x) M x + bias, with a number s(x) per token and a matrix M that is the same for all tokens: for
LayerNorm s = 1 / standard deviation and M x = weight * (x - mean(x)), for RMSNorm s = 1 / root mean square and M x =
weight * x. Frozen, s is the number that belongs to the token, whatever M is applied to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from classlens.errors import InputError
from classlens.inference.probe import close
from classlens.models.needs import FROZEN_NORMS, RMS_NORMS, SIMPLE_NORMS


class FrozenNorm:
    """A norm taken apart.

    Args:
        module: a norm over the last axis; None or the identity for no norm.
        place: where it stands, for messages.
        what: what it is taken apart for.

    Raises:
        InputError: it is a norm of another kind, or computes something else than its kind does.
    """

    def __init__(self, module: Any, place: str, what: str = "direct logit attribution") -> None:
        self.module: Any = None if isinstance(module, nn.Identity) else module
        if self.module is not None and not (isinstance(self.module, FROZEN_NORMS) and self._is_itself()):
            raise InputError(
                f"{what} does not apply: {place} is {type(module).__name__}, which is no linear function of a token up "
                f"to one number; it takes LayerNorm and RMSNorm"
            )

    @torch.no_grad()
    def _is_itself(self) -> bool:
        """Tell whether the module puts out what its parts say, for a made-up token."""
        weight = self.module.weight
        if weight is None:
            return True
        generator = torch.Generator().manual_seed(0)
        x, w = torch.randn(2, len(weight), generator=generator).to(weight)
        said = self.scale(x) * (self.pull_back(w) @ x) + self.bias(w)
        return close(said[None], (w @ self.module(x[None])[0])[None])

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """Return s(x) (...) of tokens (..., D)."""
        if self.module is None:
            return x.new_ones(x.shape[:-1])
        by_square, correction = isinstance(self.module, RMS_NORMS), int(isinstance(self.module, SIMPLE_NORMS))
        spread = x.square().mean(-1) if by_square else x.var(-1, correction=correction)
        eps = torch.finfo(x.dtype).eps if self.module.eps is None else self.module.eps
        return torch.rsqrt(spread + eps)

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
