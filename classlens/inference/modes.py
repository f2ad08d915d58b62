"""In which mode a model runs while it is looked into. Afterwards it is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def frozen_eval_mode(model: Any) -> Iterator[None]:
    """Put a model in evaluation mode and let no gradient reach its parameters; afterwards it is as it was.

    Gradients are only ever wanted of activations; without those of parameters half of the memory suffices. Nothing is
    computed again in backward passes, where changes of what a model does might not reach.
    """
    # The flag of a tensor that was made in inference mode cannot be set.
    parameters = [one for one in model.parameters() if one.requires_grad and not one.is_inference()]
    modes = [(module, module.training) for module in model.modules()]
    checkpointing = [module for module in model.modules() if getattr(module, "grad_checkpointing", False) is True]
    model.eval()
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        for module in checkpointing:
            module.grad_checkpointing = False
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode
        for module in checkpointing:
            module.grad_checkpointing = True


@contextmanager
def differentiable(model: Any) -> Iterator[None]:
    """Let gradients exist, in float32 or float64: whatever the model's type and whatever mode the caller is in.

    Parameters and buffers in less precision are float32 in the context. So are gradients, which are too small for less.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        known: dict[int, torch.Tensor] = {}
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None and (full := _full(tensor, known)) is not tensor:
                        stack.callback(tensors.__setitem__, name, tensor)
                        tensors[name] = full
        yield


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as float32, or as float64 where it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _full(tensor: torch.Tensor, known: dict[int, torch.Tensor]) -> torch.Tensor:
    """Return a parameter or buffer that gradients can pass, itself if they can; modules may share it."""
    low = tensor.is_floating_point() and tensor.dtype.itemsize < torch.float32.itemsize
    if not low and not tensor.is_inference():
        return tensor
    if id(tensor) not in known:
        full = tensor.detach().float() if low else tensor.detach().clone()
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        known[id(tensor)] = torch.nn.Parameter(full, requires_grad=False) if is_parameter else full
    return known[id(tensor)]
