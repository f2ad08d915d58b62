"""Maps of chosen images for two classes, as the figure of heat maps shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import numpy as np
import pandas as pd
import torch

from classlens.arrays import Array
from classlens.classes import check_classes
from classlens.csvfile import write_table
from classlens.errors import InputError
from classlens.explanations.explainer import Explainer
from classlens.h5 import h5py
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import Network, load_network


def heatmaps(
    pixels: str,
    weights: str,
    output: str,
    table: str,
    *,
    explain: Callable[[Any], Explainer],
    images: Sequence[int],
    second_class: int | None,
    block: int,
    head: int,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Explain a few images, by their numbers, for their correct class and for a second one.

    Args:
        pixels, weights: pixel file of the evaluation images, and canonical weights.
        output: the model's output file, for its strongest wrong class.
        table: the table to write, a row per image, class, map and image token. Columns: image, role (`true`, `second`),
            class_index, map (`all`: summed over blocks and heads; `one`: of the chosen block and head), row, column
            (of the token grid), importance.
        explain: makes an explainer with maps of the model, see `methods.Method`.
        second_class: a class index; None takes the strongest wrong class of each image.
        block, head: of the single maps.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: there is no such image, class, block or head, or the explanation does not apply to the model.
    """
    loaded = load_network(weights, **network)
    model = loaded.model
    rows, columns = model.patch_embed.grid_size
    with h5py.File(pixels) as file:
        total = len(file["pixels"])
        if max(images) >= total:
            raise InputError(f"explanations.images: there is no image {max(images)}; the data set has 0 to {total - 1}")
        photos = np.stack([file["pixels"][image] for image in images])
        true = np.array([file["class_index"][image] for image in images], np.int64)
    second = _wrong_classes(output, images, true) if second_class is None else np.full(len(images), second_class)
    explainer = explain(model)
    places = {"row": np.tile(np.repeat(np.arange(rows), columns), len(images))}
    places["column"] = np.tile(np.arange(columns), rows * len(images))
    parts = []
    with frozen_eval_mode(model), loaded.autocast():
        inputs = loaded.normalise(photos)
        for role, classes in (("true", true), ("second", second)):
            target = torch.from_numpy(check_classes(classes, model.num_classes)).to(loaded.device)
            maps = explainer(inputs, target)["maps"].cpu().numpy()
            for name, value, count in (("block", block, maps.shape[1]), ("head", head, maps.shape[2])):
                if value >= count:
                    raise InputError(f"explanations.{name} is {value}, but the model's {name}s are 0 to {count - 1}")
            for name, values in (("all", maps.sum((1, 2))), ("one", maps[:, block, head])):
                of = {"image": np.repeat(images, rows * columns), "role": role}
                of |= {"class_index": np.repeat(classes, rows * columns), "map": name}
                parts.append(pd.DataFrame({**of, **places, "importance": values.ravel()}))
    write_table(pd.concat(parts, ignore_index=True), table)
    return loaded.provenance()


def _wrong_classes(output: str, images: Sequence[int], true: Array) -> Array:
    with h5py.File(output) as file:
        top = np.stack([file["top5"][image] for image in images]).astype(np.int64)
    if top.shape[1] < 2:
        raise InputError("heat maps of a second class need a model with two classes or more")
    # The second place is the strongest wrong class of an image that the model gets right.
    return np.where(top[:, 0] == true, top[:, 1], top[:, 0])
