"""Weights in an archive of JAX (.npz), which timm reads by name.

Timm bends what does not fit, leaves fresh what it does not find and passes over what it does not know; here that is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classlens.errors import InputError
from classlens.models.canonical import some
from classlens.models.head import require_plausible
from classlens.models.match import of_head

PATCHES = "embedding/kernel"
READ_BY_TIMM = re.compile(
    r"embedding/(kernel|bias)|cls|(Transformer/posembed_input/)?pos_embedding|head/(kernel|bias)|"
    r"Transformer/(encoder_norm|encoderblock(_\d+)?)/.+|(conv_root|gn_root|block\d+)/.+"
)
"""Names without their prefix."""
OF_HEAD = re.compile(r"(head|pre_logits|MAPHead_\d+)/.+")
BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/.+")
QUERIES = re.compile(r"Transformer/encoderblock(_\d+)?/.+/query/kernel")
"""Where the blocks have no numbers, their tensors are stacked."""


def fill_from_archive(model: Any, source: Path, *, with_head: bool) -> None:
    """Fill a model from an archive; with `with_head` the head must be in it, too.

    Raises:
        InputError: the archive cannot be read, or it and the model do not have the same tensors.
    """
    try:
        with np.load(source, allow_pickle=False) as file:
            require_plausible(file, source)
            shaped = (PATCHES, "query/kernel")
            shapes = {name: file[name].shape if name.endswith(shaped) else () for name in file.files}
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(torch.nan)
        model.load_pretrained(str(source))
    except Exception as error:  # timm raises whatever comes up
        raise InputError(f"{source} does not fit the model: {error}") from error
    unread = [
        name
        for name, parameter in model.named_parameters()
        if (with_head or not of_head(name)) and bool(torch.isnan(parameter).all())
    ]
    prefix = min((name for name in shapes if name.endswith(PATCHES)), key=len).removesuffix(PATCHES)
    own = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    if unread:
        advice = "check architecture and options (num_classes for the head)"
        problem = f"{some(unread)} are missing or have another shape; {advice}"
    elif extra := _extra(own, model, with_head=with_head):
        problem = f"the architecture has no {some(extra)}; check options (depth, class_token)"
    elif bent := _bent(own, model):
        problem = f"{some(bent)}; check options (num_heads, depth, patch_size, in_chans)"
    else:
        return
    raise InputError(f"{source} does not fit the model: {problem}")


def _extra(names: Mapping[str, Any], model: Any, *, with_head: bool) -> list[str]:
    blocks = {int(found[1]) for name in names if (found := BLOCK.fullmatch(name))}
    extra = [name for name in names if not READ_BY_TIMM.fullmatch(name) and (with_head or not OF_HEAD.fullmatch(name))]
    extra += [f"encoderblock_{block}" for block in sorted(blocks) if block >= len(model.blocks)]
    return extra + [name for name in names if name == "cls" and model.cls_token is None]


def _bent(shapes: Mapping[str, tuple[int, ...]], model: Any) -> list[str]:
    """Return which patches and heads timm would cut anew; all else it refuses itself."""
    heads, width = model.blocks[0].attn.num_heads, model.embed_dim
    expected = {PATCHES: tuple(model.patch_embed.proj.weight.permute(2, 3, 1, 0).shape)}
    for name in shapes:
        if found := QUERIES.fullmatch(name):
            expected[name] = (*(() if found[1] else (len(model.blocks),)), width, heads, width // heads)
    return [
        f"{name} is {shapes[name]} and should be {right}" for name, right in expected.items() if shapes[name] != right
    ]
