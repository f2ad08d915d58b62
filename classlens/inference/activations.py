"""Read activations while a model runs: hooks by block and site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from classlens.terms import SITES

Reader = Callable[[int, str, torch.Tensor], None]
"""Called as reader(block, site, tensor) while the forward pass goes on."""


@contextmanager
def capture_activations(model: Any, site: Reader, key: Reader) -> Iterator[None]:
    """Call back for every block of every forward pass in the context.

    Args:
        model: a supported timm model.
        site: gets (block, "residual" | "attn" | "mlp", tokens (n, T, D)).
        key: gets (block, "attn" | "mlp", key coefficients (n, T, M)): the input of attn.proj, and the output of mlp.fc1
            before the activation (gated MLPs: the input of the last linear layer).
    """
    handles = []
    try:
        for index, block in enumerate(model.blocks):
            handles += [site_module(block, name).register_forward_hook(_output(site, index, name)) for name in SITES]
            handles += [
                block.attn.proj.register_forward_pre_hook(_input(key, index, "attn")),
                _key_of_mlp(block.mlp, key, index),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def residuals(model: Any, images: torch.Tensor) -> list[torch.Tensor]:
    """Return every block's output (n, T, D) of one forward pass.

    Args:
        model: a supported timm model.
        images: (n, 3, H, W), normalised.
    """
    found: list[torch.Tensor] = []

    def site(_block: int, name: str, tokens: torch.Tensor) -> None:
        if name == "residual":
            found.append(tokens)

    with capture_activations(model, site, lambda *_: None):
        model.forward_features(images)
    return found


def site_module(block: Any, site: str) -> Any:
    """Return the module of a block whose output is a site.

    In timm's blocks `drop_path1` and `drop_path2` come last in their branches; in evaluation they pass their input
    on, so what they see is what is added, after LayerScale or a post-norm.
    """
    return {"residual": block, "attn": block.drop_path1, "mlp": block.drop_path2}[site]


def key_counts(model: Any) -> dict[str, int]:
    """Return how many key coefficients M a token has in each branch of a block."""
    block = model.blocks[0]
    mlp = block.mlp.fc2.in_features if is_gated(block.mlp) else block.mlp.fc1.out_features
    return {"attn": block.attn.proj.in_features, "mlp": mlp}


def is_gated(mlp: Any) -> bool:
    """Tell whether an MLP multiplies a gate into its hidden layer (SwiGLU, GLU)."""
    return hasattr(mlp, "fc1_g") or hasattr(mlp, "fc1_x") or mlp.fc1.out_features != mlp.fc2.in_features


def _key_of_mlp(mlp: Any, key: Reader, index: int) -> Any:
    if is_gated(mlp):
        return mlp.fc2.register_forward_pre_hook(_input(key, index, "mlp"))
    return mlp.fc1.register_forward_hook(_output(key, index, "mlp"))


def _output(reader: Reader, index: int, name: str) -> Callable[..., None]:
    def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        reader(index, name, output)

    return hook


def _input(reader: Reader, index: int, name: str) -> Callable[..., None]:
    def hook(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        reader(index, name, inputs[0])

    return hook
