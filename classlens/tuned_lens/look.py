"""Write what the tuned lens and the logit lens see of the evaluation images of a shard."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import torch

from classlens.errors import InputError
from classlens.filters import h5py
from classlens.hdf5 import Column, RowWriter, index_dtype
from classlens.inference.activations import residuals
from classlens.inference.batches import over_images
from classlens.inference.network import Network, load_network, read_classes
from classlens.inference.projection import Projection
from classlens.inference.ranks import require_sound, summarise_tokens
from classlens.terms import TOP, block_name
from classlens.tuned_lens.divergence import divergence
from classlens.tuned_lens.maps import Maps


def look_through_tuned_lens(
    evaluation: str,
    weights: str,
    maps: str,
    shard: str,
    *,
    start: int,
    stop: int,
    batch_size: int,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write what both lenses see at every token of a shard's images.

    Args:
        evaluation: pixel file of the evaluation images, which are only reported on.
        weights: canonical weights.
        maps: file of `write.fit_tuned_lens`.
        shard: the file to write, a group per block: rank (N, T), top5 (N, T, min(5, C)), kl and kl_logit_lens (N, T).
        start, stop: first and last + 1 image of the shard.
        batch_size: images per forward pass, at most.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: a class is none of the model's, or logits are not finite or all equal.
    """
    loaded = load_network(weights, **network)
    model, project = loaded.model, Projection(loaded.model)
    classes = read_classes(evaluation, model.num_classes)
    tuned_by = _read(maps, len(model.blocks)).to(loaded.device)
    of_block = seen_columns(model.num_prefix_tokens + model.patch_embed.num_patches, model.num_classes)
    columns = {
        f"{block_name(block)}/{name}": column for block in range(len(model.blocks)) for name, column in of_block.items()
    }
    with RowWriter(shard, stop - start, columns, loaded.attributes()) as writer:

        @torch.inference_mode()
        def run(images: torch.Tensor, part: slice) -> None:
            target = torch.from_numpy(classes[part]).to(loaded.device)
            found: dict[str, torch.Tensor] = {}
            with loaded.autocast():
                outputs = residuals(model, images)
                last = project(outputs[-1]).log_softmax(-1)
                for block, residual in enumerate(outputs):
                    tuned = tuned_by(block, residual)
                    # Ranks come as extraction makes them, so that without a map they are those of the layer files.
                    seen = summarise_tokens(project, tuned, target)
                    try:
                        require_sound(seen["largest"], seen["smallest"], model.num_classes)
                    except InputError as error:
                        raise InputError(f"tuned lens of block {block}: {error}") from None
                    plain = divergence(last, project(residual))
                    kl = divergence(last, project(tuned)) if tuned_by.changes[block] else plain
                    of_both = {"rank": seen["rank"], "top5": seen["top5"], "kl": kl, "kl_logit_lens": plain}
                    found |= {f"{block_name(block)}/{name}": values for name, values in of_both.items()}
            writer.append({name: values.cpu().numpy() for name, values in found.items()})

        over_images(loaded, evaluation, batch_size, "looking through the tuned lens", run, range(start, stop))
    return loaded.provenance()


def _read(maps: str, blocks: int) -> Maps:
    with h5py.File(maps, "r") as file:
        groups = [file[block_name(block)] for block in range(blocks)]
        weight, bias = (np.stack([group[name][:] for group in groups]) for name in ("weight", "bias"))
    return Maps(torch.from_numpy(weight), torch.from_numpy(bias))


def seen_columns(tokens: int, num_classes: int) -> dict[str, Column]:
    """Return what a block's group in a file of `look_through_tuned_lens` holds."""
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
