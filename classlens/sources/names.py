"""From one library's names of tensors to another's, by tables, and what few tensors need beside another name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate

from classlens.errors import InputError
from classlens.models.canonical import some
from classlens.models.checkpoint import Tensors

Table = Sequence[tuple[str, str]]
"""Pattern of a name, or of one without `.weight` or `.bias` at its end, and timm's name; the first that matches."""

PARTS = r"\.(?:weight|bias)\Z"
FUSED = {"qkv": ("q", "k", "v"), "kv": ("k", "v"), "fc1": ("gate", "up")}
"""Layers of timm that hold several of other libraries, one after the other."""


def renamed(given: Mapping[str, torch.Tensor], table: Table, ignored: Table, whose: str) -> tuple[Tensors, Tensors]:
    """Return tensors under timm's names, and those that are left out.

    Args:
        given: under the library's names.
        table: names.
        ignored: patterns of names that have no part in the output, with reasons.
        whose: model, for the message.

    Raises:
        InputError: a name is in neither.
    """
    found: Tensors = {}
    left: Tensors = {}
    unknown = []
    for name, tensor in given.items():
        part = match[0] if (match := re.search(PARTS, name)) else ""
        forms = ((name, ""), (name.removesuffix(part), part))
        hits = ((re.fullmatch(old, form), new + end) for form, end in forms for old, new in table)
        own = next((hit.expand(new) for hit, new in hits if hit), None)
        if any(re.fullmatch(pattern, name) for pattern, _ in ignored):
            left[name] = tensor
        elif own is not None:
            found[own] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise InputError(
            f"{whose} holds {some(unknown)}, whose part in the output is not known; save it without them if they have "
            f"none, see docs/models.md"
        )
    return found, left


def fused(tensors: Tensors, expected: Mapping[str, Any], constants: Mapping[str, float]) -> Tensors:
    """Return tensors in the layers that timm's model has.

    Args:
        tensors: with `q`, `k` and `v` in place of `qkv`, `gate` and `up` in place of the first layer of a gated MLP.
        expected: tensors of timm's model.
        constants: values of parameters that the other library's model does not have, by patterns of timm's names.
    """
    found = {name: tensor for name, tensor in tensors.items() if name in expected}
    used = set(found)
    for name, tensor in expected.items():
        if name in found:
            continue
        stem, _, part = name.rpartition(".")
        parent, _, layer = stem.rpartition(".")
        parts = [f"{parent}.{one}.{part}" for one in FUSED.get(layer, ())]
        alone = re.sub(r"\.([qkv])_bias\Z", r".\1.bias", name).replace(".fc1_g.", ".gate.").replace(".fc1_x.", ".up.")
        if there := [one for one in parts if one in tensors]:
            zero = torch.zeros_like(tensors[there[0]])
            if part == "bias" and layer != "fc1":  # keys have none in BEiT and DINOv3
                there = parts
            found[name] = torch.cat([tensors.get(one, zero) for one in there])
            used |= set(there)
        elif alone in tensors:
            found[name] = tensors[alone]
            used.add(alone)
        elif constant := [value for pattern, value in constants.items() if re.fullmatch(pattern, name)]:
            found[name] = torch.full(tensor.shape, constant[0])
    return {**found, **{name: tensor for name, tensor in tensors.items() if name not in used}}


def resampled(
    positions: torch.Tensor,
    old: tuple[int, int],
    new: tuple[int, int],
    *,
    antialias: bool = False,
    align_corners: bool = False,
) -> torch.Tensor:
    """Return position embeddings (1, prefix + tokens, D) for another grid, bicubic; those of prefix tokens stay."""
    if old == new:
        return positions
    split = positions.shape[1] - old[0] * old[1]
    prefix, grid = positions[:, :split], positions[:, split:]
    image = grid.reshape(1, *old, -1).permute(0, 3, 1, 2).float()
    image = interpolate(image, size=new, mode="bicubic", antialias=antialias, align_corners=align_corners)
    return torch.cat([prefix, image.permute(0, 2, 3, 1).reshape(1, new[0] * new[1], -1)], 1)


def resampled_biases(table: torch.Tensor, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """Return relative position biases (offsets + 3, heads) for another grid, bilinear; the three of [CLS] stay."""
    if old == new:
        return table
    offsets, rest = table[:-3], table[-3:]
    image = offsets.reshape(1, 2 * old[0] - 1, 2 * old[1] - 1, -1).permute(0, 3, 1, 2).float()
    image = interpolate(image, size=(2 * new[0] - 1, 2 * new[1] - 1), mode="bilinear", align_corners=False)
    return torch.cat([image.permute(0, 2, 3, 1).reshape(-1, table.shape[1]), rest])


def ratio(hidden: int, width: int) -> float:
    """Return the mlp_ratio of which timm, which rounds down, makes so many hidden channels."""
    exact = hidden / width
    return exact if int(width * exact) == hidden else (hidden + 0.5) / width
