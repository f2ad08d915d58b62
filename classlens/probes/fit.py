"""Fit linear probes in one pass over the training images and score them in one pass over the evaluation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import torch

from classlens.arrays import Array
from classlens.classes import check_classes
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.inference.batches import with_oom_backoff
from classlens.inference.network import Network, load_network
from classlens.probes.features import Features
from classlens.probes.files import MISSING, write_probe
from classlens.probes.plan import Part, bytes_per_token, plan
from classlens.probes.ridge import Ridge, RidgeSums
from classlens.progress import Progress
from classlens.terms import SITES

Probe = tuple[str, int]

GIBIBYTE = 2**30


def linear_probe(
    training: str,
    evaluation: str,
    weights: str,
    probes: Sequence[str],
    *,
    probed: Sequence[Sequence[Any]],
    tokens: Sequence[int] | None,
    penalty: float,
    batch_size: int,
    memory_gib: float,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Write the files of a model's linear probes (docs/method.md, linear probes).

    For every site, block and token a ridge classifier over all classes of the model, as scikit-learn's
    RidgeClassifier(alpha=penalty) fits it to the token's features.

    Args:
        training, evaluation: pixel files (`pixels`, `class_index`) of the two splits.
        weights: canonical weights.
        probes: files to write, see `classlens.probes.files`.
        probed: pairs of site (`residual`, `attn`, `mlp`) and block, one per file.
        tokens: token numbers, prefix tokens first; None takes all.
        batch_size: images per forward pass, at most.
        memory_gib: what the sums may take, in GiB, beside the model and its activations. Probes that do not fit
            together are fitted in groups, each with passes of its own.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device.

    Raises:
        InputError: there is no such site, block or token; there are no training images; a label is no class of the
            model; or features are not finite or too large for the penalty.
    """
    loaded = load_network(weights, **network)
    model = loaded.model
    wanted = _checked_probes(probed, len(model.blocks))
    count = model.patch_embed.num_patches + model.num_prefix_tokens
    chosen = _checked_tokens(tokens, count)
    features = Features(loaded)
    with h5py.File(training) as learn, h5py.File(evaluation) as held_out:
        split = Split(learn, held_out, model.num_classes)
        token_bytes = bytes_per_token(features.width, len(split.seen), batch_size)
        groups = plan(wanted, chosen, token_bytes, int(memory_gib * GIBIBYTE))
        ranks = {probe: np.full((split.images, count), MISSING, np.int32) for probe in wanted}
        correct = {probe: np.zeros((split.images, count), np.bool_) for probe in wanted}
        with Progress(len(groups) * (split.training_images + split.images), "linear probes") as progress:
            for parts in groups:
                # The ridges get no name here, so that they are freed before the next group's sums are made.
                running = batch_size, progress
                score(
                    features, split, parts, fit(features, split, parts, penalty, *running), (ranks, correct), *running
                )
    facts = {**loaded.attributes(), "penalty": penalty, "training_images": split.training_images}
    for probe, path in zip(wanted, probes, strict=True):
        site, block = probe
        write_probe(path, ranks[probe], correct[probe], {**facts, "site": site, "block": block})
    return loaded.provenance()


class Split:
    """Training and evaluation images and their classes, of open pixel files, for C classes of the model.

    Raises:
        InputError: there are no training images, or a label is no class of the model.
    """

    def __init__(self, training: h5py.File, evaluation: h5py.File, num_classes: int) -> None:
        self.training_pixels, self.pixels = training["pixels"], evaluation["pixels"]
        self.training_classes, self.classes = (
            np.asarray(file["class_index"], dtype=np.int64) for file in (training, evaluation)
        )
        if not len(self.training_classes):
            raise InputError("there are no training images; raise the data set's key `train_per_class`")
        for classes in (self.training_classes, self.classes):
            check_classes(classes, num_classes)
        self.num_classes = num_classes
        self.seen: Array = np.unique(self.training_classes)
        """(K), classes with training images, ascending."""
        self.training_images, self.images = len(self.training_classes), len(self.classes)
        """Numbers of images, that of evaluation images being N."""


def fit(
    features: Features, split: Split, parts: Sequence[Part], penalty: float, batch_size: int, progress: Progress
) -> list[Ridge]:
    """Fit the ridges of a group in one pass over the training images.

    Raises:
        InputError: features are not finite, or too large to be told apart from the penalty.
    """
    device = features.device
    sums = [RidgeSums(len(part.tokens), features.width, len(split.seen), device) for part in parts]
    classes = torch.from_numpy(np.searchsorted(split.seen, split.training_classes)).to(device)

    def run(images: slice) -> None:
        # All that may run out of memory comes before the first addition, so that a batch is never added twice.
        batch = features(split.training_pixels[images], parts)
        for own, of_part in zip(sums, batch, strict=True):
            own.add(of_part, classes[images])
        progress.advance(images.stop - images.start)

    with_oom_backoff(split.training_images, batch_size, run)
    ridges = []
    for part in parts:
        try:
            # Taken off the list, so that a Gram matrix is freed as soon as it is solved.
            ridges.append(sums.pop(0).solve(penalty))
        except FloatingPointError as error:
            raise InputError(
                f"{part.site} of block {part.block}: {error} {penalty}; check the weights, or raise the penalty of "
                "the probes"
            ) from error
    return ridges


def score(
    features: Features,
    split: Split,
    parts: Sequence[Part],
    ridges: Sequence[Ridge],
    results: tuple[Mapping[Probe, Array], Mapping[Probe, Array]],
    batch_size: int,
    progress: Progress,
) -> None:
    """Fill the parts' tokens of ranks and correctness, (N, T) by probe, in one pass over the evaluation images."""
    ranks, hits = results
    seen = torch.from_numpy(split.seen).to(features.device)

    def run(images: slice) -> None:
        batch = features(split.pixels[images], parts)
        classes = torch.from_numpy(split.classes[images]).to(features.device)
        for part, ridge, of_part in zip(parts, ridges, batch, strict=True):
            rank, correct = ridge.judge(of_part, classes, seen, split.num_classes)
            ranks[part.site, part.block][images, part.tokens] = rank.T.cpu().numpy()
            hits[part.site, part.block][images, part.tokens] = correct.T.cpu().numpy()
        progress.advance(images.stop - images.start)

    with_oom_backoff(split.images, batch_size, run)


def _checked_probes(probed: Sequence[Sequence[Any]], blocks: int) -> list[Probe]:
    for site, block in probed:
        if site not in SITES:
            raise InputError(f"linear probes: there is no site {site!r}; take one of {', '.join(SITES)}")
        if not 0 <= block < blocks:
            raise InputError(f"linear probes: there is no block {block}; the model has the blocks 0 to {blocks - 1}")
    return [(site, block) for site, block in probed]


def _checked_tokens(tokens: Sequence[int] | None, count: int) -> list[int]:
    chosen = list(range(count)) if tokens is None else sorted(set(tokens))
    outside = [token for token in chosen if not 0 <= token < count]
    if outside or not chosen:
        raise InputError(f"linear probes: tokens {list(tokens or ())}; the model has the tokens 0 to {count - 1}")
    return chosen
