"""Token perturbations: image tokens of the object, or of its context, are taken out (docs/method.md, perturbations)."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import torch

from classlens.errors import InputError
from classlens.filters import h5py
from classlens.hdf5 import Column, RowWriter, index_dtype
from classlens.inference.batches import over_images
from classlens.inference.network import Network, load_network, read_classes
from classlens.inference.projection import Projection
from classlens.inference.ranks import rank_tokens
from classlens.inference.tokens import TokenModel
from classlens.perturbation.kinds import REMOVED_LABELS, require_token_kind

REMOVED = -1
"""Rank of a token that was taken out."""


def perturb_tokens(
    pixels: str,
    weights: str,
    labels: str,
    perturbed: str,
    *,
    kind: str,
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write what a model makes of the tokens that are left: `rank` (N, T), `correct` (N), `image_tokens_left` (N).

    Args:
        pixels: pixel file of the evaluation images.
        weights: canonical weights.
        labels: token labels, `label` (N, P).
        perturbed: the file to write.
        kind: one of `kinds.TOKEN_KINDS`.
        batch_size: images per forward pass, at most.
        start, stop: first and last + 1 image of a shard; by default of all.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: the kind is unknown; labels do not fit the images; a label is no class of the model; logits are not
            finite.
    """
    require_token_kind(kind)
    loaded = load_network(weights, **network)
    model = TokenPerturbation(loaded.model)
    tokens, patches = model.tokens.prefix + model.tokens.patches, model.tokens.patches
    classes = read_classes(pixels, loaded.model.num_classes)
    numbers = range(len(classes))[start:stop]
    columns = removal_columns(tokens, patches, kind)
    with h5py.File(labels) as file, RowWriter(perturbed, len(numbers), columns, loaded.attributes()) as writer:
        if file["label"].shape != (len(classes), patches):
            raise InputError(
                f"{labels}: labels {file['label'].shape} do not fit {len(classes)} images of {patches} tokens; "
                f"make them for this model's data set and token grid"
            )

        def run(images: torch.Tensor, part: slice) -> None:
            left = torch.from_numpy(file["label"][part] != REMOVED_LABELS[kind]).to(loaded.device)
            with loaded.autocast():
                rank, correct = model(images, torch.from_numpy(classes[part]).to(loaded.device), left)
            batch = {"rank": rank, "correct": correct, "image_tokens_left": left.sum(1)}
            writer.append({name: values.cpu().numpy() for name, values in batch.items()})

        over_images(loaded, pixels, batch_size, f"tokens {kind}", run, numbers)
    return loaded.provenance()


def removal_columns(tokens: int, patches: int, kind: str) -> dict[str, Column]:
    """Return the data sets of a file of `perturb_tokens`."""
    what = f"without {kind.removeprefix('no_')} tokens"
    return {
        "rank": Column(
            (tokens,),
            np.int32,
            f"number of classes with a larger logit than the correct one at the last block, {what}; -1: removed",
            "classes",
        ),
        "correct": Column((), np.bool_, f"the model's largest logit is the correct class's, {what}"),
        "image_tokens_left": Column(
            (), index_dtype(patches + 1), "image tokens that were not removed; images with none count for no rate", "1"
        ),
    }


class TokenPerturbation:
    """A model that sees a part of each image's tokens. Images with different numbers of them share a batch.

    Args:
        model: a supported timm model in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self.tokens = TokenModel(model)
        self._project = Projection(model)

    @torch.inference_mode()
    def __call__(
        self, images: torch.Tensor, classes: torch.Tensor, left: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rank (n, T) int32, -1 where removed, and whether the model is right (n).

        An average-pooled model has no output for an image of which nothing is left: it counts as wrong.

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the correct ones.
            left: bool (n, P), the image tokens that stay.
        """
        prefix, counts = self.tokens.prefix, left.sum(1)
        rank = torch.full((len(left), prefix + left.shape[1]), REMOVED, dtype=torch.int32, device=left.device)
        correct = torch.zeros(len(left), dtype=torch.bool, device=left.device)
        seen = (counts > 0) | self.tokens.pools_class_token
        if seen.any():
            lengths = counts[seen]
            # The tokens that stay come first, in their own order; what is behind them is padding.
            order = left[seen].to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : int(lengths.max())]
            embedded = self.tokens.embed(images[seen])
            residual = self.tokens.residual(embedded, order, lengths)
            correct[seen] = self.tokens.logits(residual, lengths).argmax(-1) == classes[seen]
            found = rank_tokens(self._project, residual, classes[seen])
            of_seen = rank[seen]
            of_seen[:, :prefix] = found[:, :prefix]
            image_ranks = torch.full_like(of_seen[:, prefix:], REMOVED).scatter(1, order, found[:, prefix:])
            of_seen[:, prefix:] = image_ranks.masked_fill(~left[seen], REMOVED)
            rank[seen] = of_seen
        return rank, correct
