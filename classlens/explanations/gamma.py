"""The gamma rule: of what a linear map adds up, the terms with the output's sign count 1 + gamma times.

The rule in its form for both signs: Montavon et al. 2019 (doi 10.1007/978-3-030-28954-6_10), Andeol et al. 2021; see
docs/method.md, attribution by relevance. With z = W x + b, g the gradient at z, and |W| |x| + |b| the sum of the terms
without their signs, the terms with z's sign add up to (z + sign(z) (|W| |x| + |b|)) / 2, so the cases z > 0 and z < 0
are one:

    c = z / ((1 + gamma / 2) |z| + gamma / 2 (|W| |x| + |b|)), and 0 where z = 0
    R_j = x_j ((1 + gamma / 2) (W' |c| g)_j + gamma / 2 sign(x_j) (|W|' c g)_j)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import conv2d, linear
from torch.overrides import TorchFunctionMode

from classlens.errors import InputError
from classlens.inference.modes import at_least_float32
from classlens.models.one_output import HEADS


@contextmanager
def gamma_rule(model: Any, gamma: float) -> Iterator[None]:
    """Let gradients pass linear layers by the gamma rule in the context, so that input times gradient is relevance.

    Args:
        model: a supported timm model, frozen. Forward passes are unchanged.
        gamma: 0 leaves gradients as they are, but passes nothing where an output is zero.

    Raises:
        InputError: a linear layer of a block or of the head did not run in the context.
    """
    # A parametrised layer makes its weight anew whenever it is asked for it.
    layers = {
        id(module.weight): name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "weight" in module._parameters
        if name.startswith(("blocks.", *HEADS))
    }
    with _GammaRule(gamma) as mode:
        yield
    if unseen := [name for weight, name in layers.items() if weight not in mode.seen]:
        raise InputError(
            f"the gamma rule does not apply to this model: its {unseen[0]} did not run in a forward pass, and there is "
            f"no rule for what runs in its place; take attn_lrp, or legrad"
        )


def patch_relevance(
    embedding: torch.nn.Conv2d, pixels: torch.Tensor, output: torch.Tensor, gradient: torch.Tensor, gamma: float
) -> torch.Tensor:
    """Return the relevance (n, P) of patches of pixels (n, 3, H, W) by the gamma rule.

    As x_j sign(x_j) is |x_j|, the sum over a patch's pixels is made of what the layer itself computes.

    Args:
        embedding: a plain convolution whose patches do not overlap.
        output, gradient: (n, D, rows, columns), what it made of the pixels, and the gradient there.
    """
    with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
        weight, z = at_least_float32(embedding.weight).abs(), at_least_float32(output)
        bias = torch.zeros_like(z[0, :, :1, :1]) if embedding.bias is None else embedding.bias[:, None, None].to(z)
        absolute = conv2d(pixels.to(z).abs(), weight, None, embedding.stride, embedding.padding, embedding.dilation)
        passed = _passed(z, absolute + bias.abs(), gamma) * gradient
        relevance = passed * ((1 + gamma / 2) * (z - bias) * z.sign() + gamma / 2 * absolute)
        return relevance.sum(1).flatten(1)


def _passed(z: torch.Tensor, absolute: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return c of an output z, with |W| |x| + |b|; 0 where z is."""
    return (z / ((1 + gamma / 2) * z.abs() + gamma / 2 * absolute)).nan_to_num_(nan=0)


class _GammaRule(TorchFunctionMode):
    """Catches linear maps where torch computes them: some attentions take a layer's weight without calling it."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self._gamma = gamma
        self.seen: set[int] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (self._linear if func is linear else func)(*args, **(kwargs or {}))

    def _linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
        self.seen.add(id(weight))
        return _GammaLinear.apply(x, weight, bias, self._gamma)


class _GammaLinear(torch.autograd.Function):
    """Computes a linear map; the gradient passes by the gamma rule."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, gamma: float
    ) -> torch.Tensor:
        output = linear(x, weight, bias)
        if ctx.needs_input_grad[0]:
            # Neither input nor output is kept: what comes after may change them in place.
            with torch.autocast(x.device.type, enabled=False):
                full = at_least_float32(output)
                absolute = linear(
                    x.to(full).abs(), weight.to(full).abs(), None if bias is None else bias.to(full).abs()
                )
                ctx.save_for_backward(_passed(full, absolute, gamma), x.sign().to(torch.int8), weight)
            ctx.gamma, ctx.dtype = gamma, x.dtype
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        passed, sign, weight = ctx.saved_tensors
        with torch.autocast(passed.device.type, enabled=False):
            gradient, weight = gradients[0].to(passed), weight.to(passed)
            through = (1 + ctx.gamma / 2) * (gradient * passed.abs() @ weight)
            through += ctx.gamma / 2 * sign * (gradient * passed @ weight.abs())
        return through.to(ctx.dtype), None, None, None
