"""Write the explanation of a model: `importance` (N, P), and `maps` (N, B, H, P) where the explanation has any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import torch

from classlens.errors import InputError
from classlens.explanations.explainer import Explainer
from classlens.hdf5 import Column, RowWriter
from classlens.inference.batches import over_images
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import Network, load_network, read_classes


def write_explanation(
    pixels: str,
    weights: str,
    explanation: str,
    *,
    explain: Callable[[Any], Explainer],
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Explain the correct class of every image.

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        explanation: the file to write.
        explain: makes an explainer of the model, see `methods.Method.compute`.
        batch_size: images per forward pass, at most.
        start, stop: first and last + 1 image of a shard; by default of all.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: the explanation does not apply to the model or is not finite, or a class is none of the model's.
    """
    loaded = load_network(weights, **network)
    model = loaded.model
    classes = read_classes(pixels, model.num_classes)
    numbers = range(len(classes))[start:stop]
    explainer = explain(model)
    columns = explanation_columns(model, explainer.importance, explainer.maps)
    with frozen_eval_mode(model), RowWriter(explanation, len(numbers), columns) as writer:

        def run(images: torch.Tensor, part: slice) -> None:
            with loaded.autocast():
                found = explainer(images, torch.from_numpy(classes[part]).to(loaded.device))
            arrays = {name: values.cpu().numpy() for name, values in found.items()}
            if not np.isfinite(arrays["importance"]).all():
                raise InputError(
                    f"{explanation}: importance is not finite; check the weights, or set extraction.precision to "
                    f"float32"
                )
            writer.append(arrays)

        over_images(loaded, pixels, min(batch_size, explainer.images_that_fit), "explaining", run, numbers)
    return loaded.provenance()


def explanation_columns(model: Any, importance: str, maps: str | None) -> dict[str, Column]:
    """Return the data sets of a file of `write_explanation`.

    Args:
        model: that is explained.
        importance, maps: what they are, see `Explainer`.
    """
    patches = model.patch_embed.num_patches
    columns = {"importance": Column((patches,), np.float32, f"importance of each image token: {importance}")}
    if maps is not None:
        shape = (len(model.blocks), model.blocks[0].attn.num_heads, patches)
        # Mantissas of gradients do not compress; packing them would only take time.
        columns["maps"] = Column(shape, np.float32, maps, compress=False)
    return columns
