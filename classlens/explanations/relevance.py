"""A backward pass that passes relevance on: gradients are changed where the network is not linear.

Input times such a gradient is the relevance of AttnLRP (Achtibat et al., ICML 2024, arXiv 2402.05602), by its epsilon
rule without epsilon; see docs/method.md, attribution by relevance. Forward passes are unchanged, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch

from classlens.errors import InputError
from classlens.inference.activations import is_gated
from classlens.inference.attention import Attention, patch_attention, patch_pool
from classlens.inference.modes import at_least_float32
from classlens.models.needs import ACTIVATIONS, RELEVANCE_NORMS, RMS_NORMS
from classlens.models.one_output import HEADS

Change = Callable[[torch.Tensor], torch.Tensor]
"""Returns the gradient that goes to the input, given the one that came to the output."""
Rule = Callable[[Any, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]
"""Called as a forward hook is; returns the output, whose gradient is changed."""


@contextmanager
def relevance_rules(model: Any, *, query: float, value: float) -> Iterator[None]:
    """Let backward passes in the context follow the rules.

    - norm: its standard deviation counts as constant;
    - activation f: counts as x times the constant f(x) / x;
    - attention, also of an attention pool: the gradient into queries and keys, and that into values, is multiplied by
      a number each;
    - gated MLP: the gradient into both factors is halved.

    Args:
        model: a supported timm model that lacks no rule, see `needs.lacks`.
        query: factor of the gradient into queries and into keys; at 0 the attention weights count as constant.
        value: factor of the gradient into values.

    Raises:
        InputError: what there is a rule for did not run in the context.
    """

    def attend(_block: int, attention: Attention) -> torch.Tensor:
        asking, asked = (_scaled(x, query) if query else x.detach() for x in (attention.query, attention.key))
        return replace(attention, query=asking, key=asked, value=_scaled(attention.value, value)).output()

    # Blocks may share a module, which has its rule once.
    rules: dict[Any, Rule] = {module: _linear_norm for module in model.modules() if isinstance(module, RELEVANCE_NORMS)}
    rules |= {block.mlp.act: _linear_activation for block in model.blocks}
    if (mlp := getattr(getattr(model, "attn_pool", None), "mlp", None)) is not None:
        rules[mlp.act] = _linear_activation
    for name in HEADS:
        parts = getattr(model, name, torch.nn.Identity()).modules()
        rules |= {part: _linear_activation for part in parts if isinstance(part, ACTIVATIONS)}
    gated = {block.mlp.fc2 for block in model.blocks if is_gated(block.mlp)}
    unseen = {*rules, *gated}

    def changed(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        unseen.discard(module)
        return rules[module](module, inputs, output)

    def halve(module: Any, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        # What lies between the product and here is linear by now, so it does not matter where one halves.
        unseen.discard(module)
        return _scaled(inputs[0], 0.5)

    with ExitStack() as stack:
        for module in rules:
            stack.callback(module.register_forward_hook(changed).remove)
        for module in gated:
            stack.callback(module.register_forward_pre_hook(halve).remove)
        stack.enter_context(patch_attention(model, attend))
        stack.enter_context(patch_pool(model, lambda attention: attend(0, attention)))
        yield
    if unseen:
        name = next(name for name, module in model.named_modules() if module in unseen)
        raise InputError(
            f"relevance propagation does not apply to this model: its {name} did not run in a forward pass, and there "
            f"is no rule for what runs in its place; if a `forward` was replaced, undo that, or take legrad"
        )


class _Changed(torch.autograd.Function):
    """Puts out what was computed before; in the backward pass the gradient is changed."""

    @staticmethod
    def forward(ctx: Any, _x: torch.Tensor, output: torch.Tensor, change: Change) -> torch.Tensor:
        ctx.change = change
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return ctx.change(gradients[0]), None, None


def _changed(x: torch.Tensor, output: torch.Tensor, change: Change) -> torch.Tensor:
    found: torch.Tensor = _Changed.apply(x, output.detach(), change)
    return found


def _scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x if factor == 1 else _changed(x, x, lambda gradient: gradient * factor)


def _linear_norm(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    x = at_least_float32(inputs[0].detach())
    eps = torch.finfo(x.dtype).eps if module.eps is None else module.eps
    centred = not isinstance(module, RMS_NORMS)
    power = x.var(-1, correction=0, keepdim=True) if centred else x.square().mean(-1, keepdim=True)
    scale = torch.rsqrt(power + eps)
    weight = None if module.weight is None else module.weight.detach()

    def change(gradient: torch.Tensor) -> torch.Tensor:
        passed = gradient * scale if weight is None else gradient * weight * scale
        if centred:
            passed = passed - passed.mean(-1, keepdim=True)
        return passed.to(inputs[0].dtype)

    return _changed(inputs[0], output, change)


def _linear_activation(_module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    x = inputs[0].detach()
    # At x = 0 there is no relevance to pass on.
    ratio = (output.detach() / x).nan_to_num_(nan=0, posinf=0, neginf=0)
    return _changed(inputs[0], output, lambda gradient: (gradient * ratio).to(x.dtype))
