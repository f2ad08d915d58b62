"""A head in two parts: what is not linear, and the linear layer at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear

from classlens.errors import InputError
from classlens.models.linear import LinearMap, is_plain, linear_map


@dataclass(frozen=True)
class Head:
    """A head in two parts: what is not linear, and the linear layer at its end.

    Attributes:
        body: None where the head is linear.
        last: None where the head ends in something else; then `body` is all of it.
    """

    body: Any
    last: LinearMap | None

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the last layer sees (..., F) of what the head sees."""
        if self.body is None:
            return x
        found: torch.Tensor = self.body(x.flatten(0, -2)).unflatten(0, x.shape[:-1])
        return found

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (..., C) of what the head sees."""
        x = self.features(x)
        return x if self.last is None else linear(x, self.last.weight, self.last.bias)


def head_of(module: Any, width: int, name: str) -> Head:
    """Return a head's parts.

    Args:
        module: the head.
        width: of its input.
        name: what it is called, for messages.
    """
    try:
        return Head(None, linear_map(module, width, name))
    except InputError:
        # A forward of a user's own, or a hook, may do more than the modules one after the other.
        if is_plain(module, torch.nn.Sequential) and is_plain(module[-1], torch.nn.Linear):
            return Head(module[:-1], LinearMap(module[-1].weight, module[-1].bias))
        return Head(module, None)
