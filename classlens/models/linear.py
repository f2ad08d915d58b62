"""The matrix of a linear layer, whatever class it is of, and a head in two parts: what is not linear, and such a layer.

What reads a layer's weight must read what the layer does: LoRA, quantised and other replaced layers hold a `weight`
that is not all, or none. So a layer that is no plain torch.nn.Linear is asked by behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from classlens.errors import InputError

TOLERANCE = 1e-4
"""Difference from linear, as a share of the largest output, beyond which a layer is refused (float32)."""


@dataclass(frozen=True)
class LinearMap:
    """x -> x W^T + bias.

    Attributes:
        weight: (out, in).
        bias: (out); None for nothing.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None


def is_plain(module: Any, kind: type[nn.Module]) -> bool:
    """Tell whether a module computes what a class of torch does, so that its tensors say all of it."""
    hooked = module._forward_hooks or module._forward_pre_hooks
    return isinstance(module, kind) and type(module).forward is kind.forward and not hooked and not replaced(module)


def replaced(module: nn.Module) -> bool:
    """Tell whether somebody put another function in place of a module's `forward`."""
    return "forward" in module.__dict__


@torch.no_grad()
def outputs_of(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return what a module makes of inputs in evaluation mode; it is left in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        outputs: torch.Tensor = module.eval()(inputs)
    finally:
        for part, mode in modes:
            part.training = mode
    return outputs


def zeros_for(module: nn.Module, width: int) -> torch.Tensor:
    """Return (1, width) zeros of the type and on the device that a layer takes."""
    like = next(module.parameters(), torch.zeros(1))
    return torch.zeros(1, width, device=like.device, dtype=like.dtype if like.dtype.is_floating_point else None)


@torch.no_grad()
def linear_map(module: Any, width: int, name: str) -> LinearMap:
    """Return the map that a layer computes in evaluation mode.

    Args:
        module: the layer. Of a plain torch.nn.Linear (also weight-normed or otherwise parametrised) its own tensors are
            returned; another one is run on zero, on unit vectors, and on a random vector that must agree.
        width: of its input.
        name: what it is, for messages, e.g. "attn.proj of block 3".

    Raises:
        InputError: it is not linear.
    """
    if is_plain(module, nn.Linear):
        return LinearMap(module.weight, module.bias)
    zeros = zeros_for(module, width)
    probe = torch.randn(1, width, generator=torch.Generator().manual_seed(0)).to(zeros)
    outputs = outputs_of(module, torch.cat([zeros, torch.eye(width).to(zeros), probe]))
    constant, weight, seen = outputs[0], (outputs[1:-1] - outputs[0]).T, outputs[-1]
    expected = (probe.float() @ weight.float().T)[0] + constant.float()
    tolerance = max(TOLERANCE, 8 * torch.finfo(zeros.dtype).eps) * float(outputs.abs().max())
    if not float((expected - seen.float()).abs().max()) <= tolerance:
        raise InputError(
            f"{name} is a {type(module).__name__} that is not linear (a hook or another forward counts, too), so its "
            f"weight cannot be read; take a linear layer"
        )
    return LinearMap(weight, constant if bool(constant.any()) else None)


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
    """Return the parts of a head whose input has `width` numbers; messages call it `name`."""
    try:
        return Head(None, linear_map(module, width, name))
    except InputError:
        # A forward of a user's own, or a hook, may do more than the modules one after the other.
        if is_plain(module, nn.Sequential) and is_plain(module[-1], nn.Linear):
            return Head(module[:-1], LinearMap(module[-1].weight, module[-1].bias))
        return Head(module, None)
