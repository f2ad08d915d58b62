"""Read activations while a model runs: hooks by block and site."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.layers.mlp import GluMlp, SwiGLU

from classlens.inference.guard import Read, Spot, watch
from classlens.terms import SITES

Reader = Callable[[int, str, torch.Tensor], None]
"""Called as reader(block, site, tensor) while the forward pass goes on."""


@contextmanager
def capture_activations(model: Any, site: Reader, key: Reader | None = None) -> Iterator[None]:
    """Call back for every block of every forward pass in the context.

    Args:
        model: a supported timm model.
        site: gets (block, "residual" | "attn" | "mlp", tokens (n, T, D)).
        key: gets (block, "attn" | "mlp", key coefficients (n, T, M)): the input of attn.proj, and the output of mlp.fc1
            before the activation (gated MLPs: the input of the last linear layer). None: they are not looked at.

    Raises:
        InputError: a block did not show each of these exactly once in a forward pass, see `guard.watch`.
    """
    spots = [site_spot(name, _named(site, name)) for name in SITES]
    if key is not None:
        spots.append(Spot("attn.proj", lambda block: block.attn.proj, _named(key, "attn"), before=True))
        gated, layers = [is_gated(block.mlp) for block in model.blocks], _named(key, "mlp")
        of = {kind: [block for block, one in enumerate(gated) if one == kind] for kind in (True, False)}
        spots.append(Spot("mlp.fc2", lambda block: block.mlp.fc2, layers, before=True, blocks=of[True]))
        spots.append(Spot("mlp.fc1", lambda block: block.mlp.fc1, layers, blocks=of[False]))
    with watch(model, *spots):
        yield


def residuals(model: Any, images: torch.Tensor) -> list[torch.Tensor]:
    """Return every block's output (n, T, D) of one forward pass of images (n, 3, H, W), normalised."""
    found: list[torch.Tensor] = []

    def site(_block: int, name: str, tokens: torch.Tensor) -> None:
        if name == "residual":
            found.append(tokens)

    with capture_activations(model, site):
        model.forward_features(images)
    return found


MODULES = {"residual": "", "attn": "drop_path1", "mlp": "drop_path2"}
"""Of a block, whose output is a site; "" is the block itself.

In timm's blocks `drop_path1` and `drop_path2` come last in their branches; in evaluation they pass their input on, so
what they see is what is added, after LayerScale or a post-norm.
"""


def site_spot(site: str, read: Read, blocks: Collection[int] | None = None) -> Spot:
    """Return where a site is read, in some blocks or in all."""
    name = MODULES[site]
    return Spot(name, lambda block: getattr(block, name) if name else block, read, blocks=blocks)


def key_counts(model: Any) -> dict[str, int]:
    """Return how many key coefficients M a token has in each branch of a block."""
    block = model.blocks[0]
    mlp = block.mlp.fc2.in_features if is_gated(block.mlp) else block.mlp.fc1.out_features
    return {"attn": block.attn.proj.in_features, "mlp": mlp}


def is_gated(mlp: Any) -> bool:
    """Tell whether an MLP multiplies a gate into its hidden layer (SwiGLU, GLU)."""
    return isinstance(mlp, GluMlp | SwiGLU)


def _named(reader: Reader, name: str) -> Read:
    def read(block: int, values: torch.Tensor) -> None:
        reader(block, name, values)

    return read
