"""What explanations say of a model whose weights are reset, block by block from the last to the first.

Adebayo et al., NeurIPS 2018 (arXiv 1810.03292): an explanation that stays the same says nothing of what was learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np
import torch

from classlens.arrays import Array
from classlens.classes import output_indices
from classlens.errors import InputError
from classlens.explanations.explainer import Explainer
from classlens.h5 import h5py
from classlens.hdf5 import write_described
from classlens.inference.batches import collect
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel, Network, load_network
from classlens.models.canonical import load_model

MOST_STEPS = 6


def cascade(depth: int) -> list[int]:
    """Return after how many reset blocks to explain images: at most `MOST_STEPS` numbers, evenly spread up to all."""
    steps = min(MOST_STEPS, depth)
    return [round(depth * step / steps) for step in range(1, steps + 1)]


def randomised_explanations(
    pixels: str,
    weights: str,
    control: Sequence[str],
    randomised: str,
    *,
    explain: Callable[..., Explainer],
    images: Sequence[int],
    batch_size: int,
    method_settings: Mapping[str, Any] | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Explain the correct class of some images by models with reset blocks.

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        control: one file, the weights of the random control model, which reset blocks are taken from.
        randomised: the HDF5 file to write: `images` (n), `blocks` (S), the numbers of reset blocks, `cascade`
            (n, S, P) and `control` (n, P) float32, importance by models with so many last blocks reset, and by the
            random control model, in which nothing is left.
        explain: makes an explainer of a model, see `methods.Method.compute`.
        images: rising numbers of the images.
        batch_size: images per forward pass, at most.
        method_settings: further arguments of `explain`.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: there is no random control model, or the explanation does not apply to the model.
    """
    if not control:
        raise InputError(f"{randomised}: needs the model's random control model; set the model's random_twin to true")
    explain = partial(explain, **method_settings or {})
    loaded = load_network(weights, **network)
    model = loaded.model
    random: Any = load_model(control[0], network["architecture"], network["options"])
    with h5py.File(pixels) as file:
        photos = file["pixels"][list(images)]
        classes = output_indices(file["class_index"][list(images)].astype(np.int64), model.num_classes)
    blocks, found = cascade(len(model.blocks)), []
    for reset in blocks:
        for block in range(len(model.blocks) - reset, len(model.blocks)):
            model.blocks[block].load_state_dict(random.blocks[block].state_dict())
        found.append(explained(loaded, explain, photos, classes, batch_size))
    model.load_state_dict(random.state_dict())
    of_control = explained(loaded, explain, photos, classes, batch_size)
    with h5py.File(randomised, "w") as file:
        told = {
            "images": (np.asarray(images, np.int32), "numbers of the images"),
            "blocks": (np.asarray(blocks, np.int32), "numbers of reset blocks, counted from the last"),
            "cascade": (np.stack(found, axis=1), "importance by models with reset blocks"),
            "control": (of_control, "importance by the random control model"),
        }
        write_described(file, told)
    return loaded.provenance()


def explained(
    loaded: LoadedModel, explain: Callable[[Any], Explainer], photos: Array, classes: Array, batch_size: int
) -> Array:
    """Return importance (n, P) by the model as it is now."""
    explainer = explain(loaded.model)

    def run(part: slice) -> Array:
        target = torch.from_numpy(classes[part]).to(loaded.device)
        with loaded.autocast():
            importance = explainer(loaded.normalise(photos[part]), target)["importance"]
        found: Array = importance.cpu().numpy()
        return found

    with frozen_eval_mode(loaded.model):
        return np.concatenate(collect(len(photos), min(batch_size, explainer.images_that_fit), run))
