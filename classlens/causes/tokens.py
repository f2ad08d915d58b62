"""Write what replacing sets of image tokens by their means does to every image's correct class."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Unpack

import numpy as np
import torch

from classlens.causes.ablation import Ablation, residual_sums
from classlens.causes.heads import require_finite
from classlens.causes.means import read_means
from classlens.causes.outliers import norm_thresholds
from classlens.causes.sets import set_names, token_sets
from classlens.filters import h5py
from classlens.hdf5 import Column, RowWriter
from classlens.inference.batches import over_images
from classlens.inference.network import Network, load_network, read_classes
from classlens.measures.layers import read_layout


def token_effects(
    pixels: str,
    weights: str,
    layers: Sequence[str],
    labels: Sequence[str],
    effects: str,
    means: str | None = None,
    *,
    outlier_norm: float | None,
    seed: int,
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Behind every block, replace sets of image tokens by their means over the images (docs/method.md, causes).

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        layers: the model's layer files in block order.
        labels: its token labels in a list; an empty list where there are no masks.
        effects: the file to write: effect (N, B, S), NaN where an image has no such tokens, and correct (N, B, S);
            attribute `sets`: their S names.
        means: file of `means.token_means`, which a shard needs; None: they are taken over all images here.
        outlier_norm: see `norm_thresholds`.
        seed: of random sets.
        batch_size: images per forward pass, at most.
        start, stop: first and last + 1 image of a shard; by default of all.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: a class is none of the model's, or an effect is not finite.
    """
    loaded = load_network(weights, **network)
    classes, layout = read_classes(pixels, loaded.model.num_classes), read_layout(layers[0])
    numbers = range(len(classes))[start:stop]
    if means is None:
        thresholds = norm_thresholds(layers, layout, outlier_norm)
        mean = (residual_sums(loaded, pixels, batch_size, numbers) / len(numbers)).float()
    else:
        found = read_means(means)
        thresholds, mean = found["threshold"], torch.from_numpy(found["mean"]).to(loaded.device)
    ablation, names = Ablation(loaded.model), set_names(has_labels=bool(labels))
    columns = token_columns(len(layers), len(names))
    with ExitStack() as stack:
        files = [stack.enter_context(h5py.File(layer, "r")) for layer in layers]
        labelled = [stack.enter_context(h5py.File(path, "r")) for path in labels]
        attributes = {**loaded.attributes(), "sets": names}
        writer = stack.enter_context(RowWriter(effects, len(numbers), columns, attributes))

        def read(name: str, part: slice) -> Any:
            return np.stack([file[f"residual/{name}"][part][:, layout.image_tokens] for file in files], axis=1)

        def run(images: torch.Tensor, part: slice) -> None:
            of_images = labelled[0]["label"][part] if labelled else None
            sets = token_sets(read("rank", part), read("norm", part), thresholds, part.start, seed, of_images)
            target, chosen = torch.from_numpy(classes[part]), torch.from_numpy(sets)
            with loaded.autocast():
                found = ablation.image_tokens(images, target.to(loaded.device), mean, chosen.to(loaded.device))
            effect = found.effect.cpu().numpy()
            require_finite(effect, effects)
            effect[~sets.any(-1)] = np.nan
            writer.append({"effect": effect, "correct": found.correct.cpu().numpy()})

        over_images(loaded, pixels, batch_size, "replacing tokens", run, numbers)
    return loaded.provenance()


def token_columns(blocks: int, sets: int) -> dict[str, Column]:
    """Return the data sets of a file of `token_effects`."""
    shape = (blocks, sets)
    return {
        "effect": Column(
            shape,
            np.float32,
            "output logit of the correct class as it is minus what it becomes when tokens are replaced by their mean "
            "over images: block, set; NaN: the image has no such tokens",
            "logit",
            compress=False,
        ),
        "correct": Column(shape, np.bool_, "the model's largest logit is still the correct class's: block, set"),
    }
