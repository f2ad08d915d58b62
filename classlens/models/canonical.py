"""The canonical file of a model's weights: the tensors of the built model in a fixed order and nothing else.

Equal tensors give equal bytes, whatever file they came from. How they come there: `classlens.models.weights`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from classlens.errors import InputError
from classlens.models.build import build
from classlens.models.parallel import canonical_form


def save_weights(
    model: torch.nn.Module, destination: Path | str, *, described_as: str, notes: Mapping[str, str] | None = None
) -> None:
    """Write a model's tensors as a canonical file, with notes in its header; messages call them `described_as`.

    Raises:
        InputError: a tensor holds NaN or infinity; the message names it.
    """
    require_finite(model, described_as)
    save_file(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()},
        destination,
        dict(notes) if notes else None,
    )


def require_finite(model: torch.nn.Module, described_as: str) -> None:
    """Refuse weights that are no numbers.

    Raises:
        InputError: a tensor holds NaN or infinity; the message names it.
    """
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(f"{described_as}: {some(broken)} hold NaN or infinity; take an intact checkpoint")


def load_model(weights: Path | str, architecture: str, options: Mapping[str, Any]) -> torch.nn.Module:
    """Build a model and give it the weights of a canonical file, which has two classes where timm's has one output."""
    model: torch.nn.Module = canonical_form(build(architecture, options))
    model.load_state_dict(load_file(weights))
    return model


def some(names: Sequence[str], most: int = 4) -> str:
    """Return names in a row, the first few of many."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
