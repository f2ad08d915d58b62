"""Write the direct logit attribution of every image's correct class."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Unpack

import numpy as np
import torch

from classlens.attribution.decompose import MOST_GAP, Attribution, LogitAttribution
from classlens.errors import InputError
from classlens.hdf5 import Column, RowWriter
from classlens.inference.batches import over_images
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import Network, load_network, read_classes
from classlens.inference.replay import Replayed


def write_attribution(
    pixels: str,
    weights: str,
    attribution: str,
    *,
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Attribute the output logit of the correct class of every image.

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        attribution: the file to write: heads (N, B, H, T), attention_bias (N, B), mlp (N, B), embedding (N), constant
            (N), logit (N), see `Attribution`.
        batch_size: images per forward pass, at most.
        start, stop: first and last + 1 image of a shard; by default of all.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device, and the largest gap between the sum of an image's parts and its logit.

    Raises:
        InputError: attribution does not apply to the model, the parts are not finite or do not add up, or a class is
            none of the model's.
    """
    loaded = load_network(weights, **network)
    model = loaded.model
    classes = read_classes(pixels, model.num_classes)
    numbers = range(len(classes))[start:stop]
    attribute = LogitAttribution(model)

    def parts(images: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
        found = attribute(images, classes)
        return {field.name: getattr(found, field.name) for field in fields(found)}

    replayed = Replayed(parts)
    exact = network["precision"] == "float32"
    gaps = []
    columns = attribution_columns(model)
    with (
        frozen_eval_mode(model),
        RowWriter(attribution, len(numbers), columns, loaded.attributes()) as writer,
    ):

        def run(images: torch.Tensor, part: slice) -> None:
            with loaded.autocast():
                found = Attribution(**replayed(images, torch.from_numpy(classes[part]).to(loaded.device)))
            gap = _checked(found, attribution, exact=exact)
            writer.append({name: getattr(found, name).float().cpu().numpy() for name in columns})
            gaps.append(gap)

        over_images(loaded, pixels, min(batch_size, attribute.images_that_fit), "attributing", run, numbers)
    return {**loaded.provenance(), "largest_gap": max(gaps)}


def attribution_columns(model: Any) -> dict[str, Column]:
    """Return the data sets of a file of `write_attribution`."""
    blocks, heads = len(model.blocks), model.blocks[0].attn.num_heads
    tokens = model.num_prefix_tokens + model.patch_embed.num_patches
    described = {
        "heads": ((blocks, heads, tokens), "what a head writes into the logit from a token: block, head, token"),
        "attention_bias": ((blocks,), "what biases of the attention branch write into the logit: block"),
        "mlp": ((blocks,), "what the MLP branch writes into the logit: block"),
        "embedding": ((), "what the input of the first block writes into the logit"),
        "constant": ((), "what biases of the last norms and of the head write into the logit"),
        "logit": ((), "output logit of the correct class, the sum of all other parts"),
    }
    # Mantissas do not compress; packing them would only take time.
    return {name: Column(shape, np.float32, text, "logit", compress=False) for name, (shape, text) in described.items()}


def _checked(found: Attribution, attribution: str, *, exact: bool) -> float:
    """Return the largest gap of a batch."""
    gap = float(found.gap().max())
    if not np.isfinite(gap):
        raise InputError(
            f"{attribution}: contributions are not finite; check the weights, or set extraction.precision to float32"
        )
    if exact and gap > MOST_GAP:
        raise InputError(
            f"{attribution}: the parts of a logit differ from it by {gap:.1g} of the largest part, so this model "
            f"computes something that attribution does not know of; leave logit_attribution out of its analyses"
        )
    return gap
