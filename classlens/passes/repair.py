"""Take out of a model the heads that carry a shortcut, and write what it answers then (docs/method.md, repair)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

import numpy as np
import torch

from classlens.ablation.repair import Head, choose, fold, folded, halve
from classlens.ablation.replace import residuals_of
from classlens.arrays import Array
from classlens.columns import DRAWS
from classlens.csvfile import read_texts
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.hdf5 import write_described
from classlens.inference.batches import over_images
from classlens.inference.guard import Spot, watch
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel, Network, load_network, read_classes
from classlens.inference.tokens import TokenModel
from classlens.models.build import build
from classlens.models.canonical import save_weights
from classlens.models.facts import CONSTANTS
from classlens.models.inputs import to_device
from classlens.models.needs import lacks
from classlens.models.one_output import as_one_output
from classlens.statistics.groups import change_of_worst, groups_of
from classlens.statistics.resampling import Resampling


class Answers:
    """What a model answers to stored images without some of its heads.

    Args:
        loaded: the model.
        pixels: pixel file.
        batch_size: images per forward pass, at most.
    """

    def __init__(self, loaded: LoadedModel, pixels: str, batch_size: int) -> None:
        self._loaded, self._pixels, self._batch_size = loaded, pixels, batch_size
        self._tokens, self.classes = TokenModel(loaded.model), read_classes(pixels, loaded.model.num_classes)
        self.blocks, self.heads = len(loaded.model.blocks), loaded.model.blocks[0].attn.num_heads

    def means(self, chosen: Array) -> torch.Tensor:
        """Return the mean over images and tokens of what each head hands to its block's projection, (B, H, d).

        Args:
            chosen: bool (N), the images.
        """
        total, count = torch.zeros((), dtype=torch.float64, device=self._loaded.device), 0

        def run(images: torch.Tensor, _classes: torch.Tensor) -> None:
            nonlocal total, count
            found: list[torch.Tensor] = []

            def read(_block: int, given: torch.Tensor) -> None:
                found.append(given.double().sum((0, 1)))

            with watch(self._loaded.model, Spot("attn.proj", lambda block: block.attn.proj, read, before=True)):
                tokens = self._tokens.run(self._tokens.embed(images))
            total, count = total + torch.stack(found), count + tokens.shape[:2].numel()

        self._over(chosen, "averaging heads", run)
        return (total / count).reshape(self.blocks, self.heads, -1)

    def right(self, chosen: Array, means: torch.Tensor, heads: Iterable[Head]) -> Array:
        """Return whether the model is right without some heads, bool (n), for images `chosen`, bool (N)."""
        found: list[torch.Tensor] = []

        def run(images: torch.Tensor, classes: torch.Tensor) -> None:
            found.append(self._tokens.logits(self._tokens.run(self._tokens.embed(images))).argmax(-1) == classes)

        with folded(self._loaded.model, means, list(heads)):
            self._over(chosen, "answering", run)
        return torch.cat(found).cpu().numpy()

    def without_each(self, chosen: Array, means: torch.Tensor, heads: list[Head]) -> tuple[Array, Array]:
        """Return whether the model is right without some heads, (n), and without each further one, (n, B, H).

        No block before a replaced head runs again for it.
        """
        now: list[torch.Tensor] = []
        without: list[torch.Tensor] = []

        def run(images: torch.Tensor, classes: torch.Tensor) -> None:
            residuals = residuals_of(self._tokens, self._tokens.embed(images))
            intact, found = self._tokens.logits(residuals[-1]).argmax(-1) == classes, []
            for block in range(self.blocks):
                for head in range(self.heads):
                    with folded(self._loaded.model, means, [(block, head)]):
                        residual = self._tokens.run(residuals[block], slice(block, None))
                    found.append(self._tokens.logits(residual).argmax(-1) == classes)
            now.append(intact)
            without.append(torch.stack(found, 1).reshape(-1, self.blocks, self.heads))

        with folded(self._loaded.model, means, heads):
            self._over(chosen, f"trying heads ({len(heads)} replaced)", run)
        return torch.cat(now).cpu().numpy(), torch.cat(without).cpu().numpy()

    def _over(self, chosen: Array, doing: str, run: Any) -> None:
        def few(images: torch.Tensor, part: slice) -> None:
            own = torch.from_numpy(np.flatnonzero(chosen[part])).to(images.device)
            if len(own):
                with torch.inference_mode(), self._loaded.autocast():
                    run(images[own], to_device(self.classes[part][chosen[part]], images.device))

        over_images(self._loaded, self._pixels, self._batch_size, doing, few)


def write_repair(
    pixels: str,
    weights: str,
    groups: str,
    repaired: str,
    own_weights: str,
    answers: str,
    *,
    attribute: str,
    heads: int,
    seed: int,
    resampling: Resampling,
    batch_size: int,
    **network: Unpack[Network],
) -> dict[str, Any]:
    """Choose heads on one half of the images, and write what the model answers to all without them.

    Args:
        pixels: pixel file.
        weights: canonical weights.
        groups: groups.csv.
        repaired: the weights to write, with these heads folded away; the model's own where that helps nothing on the
            other half: the interval of the worst group's change does not lie above 0.
        own_weights: the same in canonical form, as weights of a model of the workflow.
        answers: the file to write: `correct` bool (2 + draws, N), of the model, without the chosen heads, and without
            as many random ones; `choosing` bool (N), the half that heads were chosen by; `heads` (2 + draws, most, 2),
            which were replaced (block, head), -1 beyond; attribute `found`.
        attribute: of groups.csv.
        heads: to replace, at most.
        seed: of halves and random heads.
        resampling: for standard errors and intervals.
        batch_size: images per forward pass, at most.
        network: see `inference.network.Network`.

    Returns:
        provenance: the device, and the heads that were chosen.

    Raises:
        InputError: weights have no place for constants, or no group has two images.
    """
    loaded = load_network(weights, **network)
    model = loaded.model
    if reason := lacks(model).get(CONSTANTS):
        raise InputError(f"repair does not apply to this model: {reason}")
    with frozen_eval_mode(model):
        asked = Answers(loaded, pixels, batch_size)
        of, _ = groups_of(asked.classes, read_texts(groups)[attribute].to_numpy(str))
        choosing = halve(of, seed)
        if not choosing.any():
            raise InputError(
                f"{groups}: every group of {attribute} has one image, so no half can choose; name an attribute that "
                f"images share (repair.attribute), or take more images"
            )
        means = asked.means(choosing)
        chosen = choose(lambda gone: asked.without_each(choosing, means, gone), of.among(choosing), heads, resampling)
        sets = [(), tuple(chosen), *_random_heads(len(chosen), (asked.blocks, asked.heads), seed)]
        every, replaced_heads = np.ones(len(choosing), bool), list[Head]()
        # Where nothing is chosen, all sets are empty, and one pass answers for them.
        by_set = {one: asked.right(every, means, one) for one in dict.fromkeys(sets)}
        right = np.stack([by_set[one] for one in sets])
        changed = change_of_worst(right[0, ~choosing], right[1, ~choosing], of.among(~choosing), resampling)
        if is_found := changed.low > 0:
            fold(model, means, chosen)
            replaced_heads = chosen
    # They say so themselves; and weights that nothing was changed in are another file than the model's own.
    notes = {"replaced_heads": _told(replaced_heads)}
    save_weights(model, own_weights, described_as="repaired weights", notes=notes)
    if build(network["architecture"], network["options"], device="meta").num_classes == 1:
        as_one_output(model)
    save_weights(model, repaired, described_as="repaired weights", notes=notes)
    replaced = np.full((len(sets), heads, 2), -1, np.int32)
    for place, one in enumerate(sets):
        replaced[place, : len(one)] = np.array(one).reshape(-1, 2)
    told = {
        "correct": (right, "the largest logit is the correct class's: model, without the chosen heads, without others"),
        "choosing": (choosing, "heads were chosen by this image"),
        "heads": (replaced, "the heads that were replaced (block, head); -1: none"),
    }
    with h5py.File(answers, "w") as file:
        write_described(file, told)
        file.attrs["found"] = is_found
    return {**loaded.provenance(), "chosen": _told(chosen), **notes}


def _told(heads: Iterable[Head]) -> str:
    return " ".join(f"{block}.{head}" for block, head in heads) or "none"


def _random_heads(count: int, shape: tuple[int, int], seed: int) -> list[tuple[Head, ...]]:
    generator = np.random.default_rng(seed)
    draws = [generator.choice(shape[0] * shape[1], count, replace=False) for _ in range(DRAWS)]
    return [tuple((int(place) // shape[1], int(place) % shape[1]) for place in sorted(draw)) for draw in draws]
