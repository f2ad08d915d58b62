"""Removal on pixels, the protocol of published areas under removal curves (docs/method.md, removal on pixels).

After Chefer, Gur, Wolf, CVPR 2021 (arXiv 2012.09838): importance is enlarged to pixels, and the most or the least
important ones are painted black, step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch.nn.functional import interpolate

from classlens.faithfulness.joined import join_pixel_curves
from classlens.faithfulness.orders import batch_importance
from classlens.faithfulness.right import right_columns, right_rows
from classlens.faithfulness.steps import PIXEL_PERCENT
from classlens.hdf5 import RowWriter
from classlens.inference.batches import over_images
from classlens.inference.network import Network, load_network, read_classes


def pixel_removal(
    pixels: str,
    weights: str,
    explanation: Sequence[str],
    curves: str,
    correct_per_image: str,
    *,
    batch_size: int,
    seeds: Sequence[int] = (),
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write the accuracy while pixels are painted black, and per image what it is the mean of.

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        explanation: one file, whose `importance` (N, P) orders the pixels; none: random importance of tokens.
        curves: the table to write. Columns: direction (negative paints the least important pixels, positive the most
            important), percent_removed (0, 10, ..., 90), accuracy (a fraction), auc (by the trapezoid rule over the
            removed share, 0 to 0.9, times 100) and auc_ratio (to the unperturbed accuracy), both of the whole curve;
            for random importance accuracy is the mean over seeds, and accuracy_low and accuracy_high are the extremes.
        correct_per_image: the HDF5 file to write: `negative`, `positive` (N, steps) float32, the share of orders
            under which the model is right; attribute `percent_removed` (steps).
        batch_size: images per forward pass, at most.
        seeds: of random importance; must be given when there is no explanation, and only then.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: the explanation does not fit the images or holds NaN, or a label is no class of the model.
    """
    right = f"{correct_per_image}.right"
    noted = remove_pixels(pixels, weights, explanation, right, batch_size=batch_size, seeds=seeds, **network)
    join_pixel_curves([right], curves, correct_per_image, seeds=seeds)
    Path(right).unlink()
    return noted


def remove_pixels(
    pixels: str,
    weights: str,
    explanation: Sequence[str],
    right: str,
    *,
    batch_size: int,
    seeds: Sequence[int] = (),
    start: int = 0,
    stop: int | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write whether the model is right about each image while pixels are painted black, by order and step.

    Args:
        pixels, weights, explanation, batch_size, seeds, network: see `pixel_removal`.
        right: the HDF5 file to write, see `right_columns`; attribute `percent_removed` (steps).
        start, stop: first and last + 1 image of a shard; by default of all.

    Returns:
        provenance: the device.

    Raises:
        InputError: see `pixel_removal`.
    """
    loaded = load_network(weights, **network)
    model = loaded.model
    rows, columns = model.patch_embed.grid_size
    classes = read_classes(pixels, model.num_classes)
    numbers = range(len(classes))[start:stop]
    importance = batch_importance(explanation, seeds, len(classes), rows * columns, numbers)
    removal = PixelRemoval(model, loaded.normalise(np.zeros((1, 1, 1, 3), np.uint8)))
    attributes = {"percent_removed": np.asarray(PIXEL_PERCENT, np.int32)}
    data_sets = right_columns(max(1, len(seeds)), len(PIXEL_PERCENT))
    with RowWriter(right, len(numbers), data_sets, attributes) as writer:

        def run(images: torch.Tensor, part: slice) -> None:
            target = torch.from_numpy(classes[part]).to(loaded.device)
            with loaded.autocast():
                maps = torch.from_numpy(importance(part)).to(loaded.device)
                found = torch.stack([removal(images, target, of_seed) for of_seed in maps], dim=1).cpu().numpy()
            writer.append(right_rows(found))

        over_images(loaded, pixels, batch_size, "removing pixels", run, numbers)
    return loaded.provenance()


class PixelRemoval:
    """Paints pixels black in the order of importance.

    Args:
        model: a supported timm model in evaluation mode.
        black: (1, 3, 1, 1), a black pixel after normalisation.
    """

    def __init__(self, model: Any, black: torch.Tensor) -> None:
        self._model, self._black = model, black

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, classes: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
        """Tell whether the model is right: bool (2 directions, n, steps).

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the correct ones.
            importance: (n, P), enlarged bilinearly to pixels; of equal pixels the first one is the more important.
        """
        height, width = images.shape[-2:]
        grid = importance.view(-1, 1, *self._model.patch_embed.grid_size)
        enlarged = interpolate(grid.float(), (height, width), mode="bilinear", align_corners=False).flatten(1)
        # How many pixels are more important than each one.
        places = enlarged.argsort(dim=1, descending=True, stable=True).argsort(dim=1).view(-1, 1, height, width)
        whole = self._right(images, classes)
        right = []
        for percent in PIXEL_PERCENT:
            count = height * width * percent // 100
            if not count:
                right.append(torch.stack([whole, whole]))
                continue
            painted = (places >= height * width - count, places < count)
            right.append(torch.stack([self._right(torch.where(one, self._black, images), classes) for one in painted]))
        return torch.stack(right, dim=-1)

    def _right(self, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self._model(images).argmax(-1) == classes)
