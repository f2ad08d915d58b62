"""Fit a model's tuned lens, and write what it and the logit lens see of the evaluation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Unpack

import numpy as np
import torch

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.filters import h5py
from classlens.hdf5 import Column, RowWriter, describe, index_dtype
from classlens.inference.activations import residuals
from classlens.inference.batches import over_images
from classlens.inference.network import LoadedModel, Network, load_network, read_classes
from classlens.inference.projection import Projection
from classlens.inference.ranks import require_sound, summarise_tokens
from classlens.terms import TOP
from classlens.tuned_lens.divergence import divergence
from classlens.tuned_lens.fit import Fitted, Recipe, fit_maps


def fit_tuned_lens(
    training: str,
    evaluation: str,
    weights: str,
    maps: Sequence[str],
    *,
    steps: int,
    images_per_step: int,
    learning_rate: float,
    penalty: float,
    seed: int,
    batch_size: int,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write the files of a model's tuned lens (docs/method.md, tuned lens).

    Args:
        training, evaluation: pixel files of the two splits. Evaluation images are only reported on.
        weights: canonical weights.
        maps: the files to write, one per block in order: weight (D, D), bias (D), and of the evaluation images rank
            (N, T), top5 (N, T, min(5, C)), kl and kl_logit_lens (N, T).
        steps: KL steps behind the ridge maps; 0 takes none.
        images_per_step: training images of a step.
        learning_rate: of the first step, see `steps.Descent`.
        penalty: of the ridge maps, see `ridge`.
        seed: of the held-out images and the order of steps.
        batch_size: images per forward pass, at most.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: there are no training images, a class is none of the model's, or logits are not finite or all equal.
    """
    loaded = load_network(weights, **network)
    classes = read_classes(evaluation, loaded.model.num_classes)
    fitted = fit_maps(loaded, training, Recipe(steps, images_per_step, learning_rate, penalty, seed), batch_size)
    _write_seen(loaded, evaluation, classes, fitted, maps, batch_size)
    for block, path in enumerate(maps):
        with h5py.File(path, "r+") as file:
            text = "added to the block's output h, so that the head reads what the last block will say: h + M h + m"
            for name, values in {"bias": fitted.maps.bias, "weight": fitted.maps.weight}.items():
                dataset = file.create_dataset(name, data=values[block].numpy())
                describe(dataset, f"{'M' if name == 'weight' else 'm'} of the affine map {text}")
    return loaded.provenance()


def _columns(tokens: int, num_classes: int) -> dict[str, Column]:
    index = index_dtype(num_classes)
    where = "at the block's output behind the block's map"
    apart = "KL divergence of the last block's class distribution at the same token from that of the"
    return {
        "rank": Column(
            (tokens,), index, f"number of classes with a larger logit than the correct one, {where}", "classes"
        ),
        "top5": Column(
            (tokens, min(TOP, num_classes)),
            index,
            f"classes with the largest logits, largest first, {where}",
            "class index",
        ),
        "kl": Column((tokens,), np.float32, f"{apart} tuned lens", "nat"),
        "kl_logit_lens": Column((tokens,), np.float32, f"{apart} logit lens", "nat"),
    }


def _facts(loaded: LoadedModel, fitted: Fitted, block: int) -> dict[str, Any]:
    held_out = {f"held_out_kl_{name}": float(values[block]) for name, values in fitted.held_out.items()}
    return {
        **loaded.attributes(),
        "block": block,
        "chosen": fitted.chosen[block],
        "training_images": fitted.training_images,
        "held_out_images": fitted.held_out_images,
        **held_out,
    }


def _write_seen(
    loaded: LoadedModel, evaluation: str, classes: Array, fitted: Fitted, paths: Sequence[str], batch_size: int
) -> None:
    model, maps = loaded.model, fitted.maps.to(loaded.device)
    project = Projection(model)
    columns = _columns(model.num_prefix_tokens + model.patch_embed.num_patches, model.num_classes)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(RowWriter(path, len(classes), columns, _facts(loaded, fitted, block)))
            for block, path in enumerate(paths)
        ]

        @torch.inference_mode()
        def run(images: torch.Tensor, part: slice) -> None:
            target = torch.from_numpy(classes[part]).to(loaded.device)
            found: list[Mapping[str, torch.Tensor]] = []
            with loaded.autocast():
                outputs = residuals(model, images)
                last = project(outputs[-1]).log_softmax(-1)
                for block, residual in enumerate(outputs):
                    tuned = maps(block, residual)
                    # Ranks come as extraction makes them, so that without a map they are those of the layer files.
                    seen = summarise_tokens(project, tuned, target)
                    try:
                        require_sound(seen["largest"], seen["smallest"], model.num_classes)
                    except InputError as error:
                        raise InputError(f"tuned lens of block {block}: {error}") from None
                    plain = divergence(last, project(residual))
                    kl = divergence(last, project(tuned)) if maps.changes[block] else plain
                    found.append({"rank": seen["rank"], "top5": seen["top5"], "kl": kl, "kl_logit_lens": plain})
            rows = [{name: values.cpu().numpy() for name, values in one.items()} for one in found]
            for writer, row in zip(writers, rows, strict=True):
                writer.append(row)

        over_images(loaded, evaluation, batch_size, "looking through the tuned lens", run)
