"""Steps that lower the divergence of all blocks' maps together, from one forward pass per batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear

from classlens.arrays import Array
from classlens.inference.activations import residuals
from classlens.inference.batches import with_oom_backoff
from classlens.inference.network import LoadedModel
from classlens.inference.projection import Projection
from classlens.progress import Progress
from classlens.tuned_lens.divergence import divergence
from classlens.tuned_lens.ridge import Scale


class Descent:
    """Adam on A and a of every block, in units in which channels of all models are alike.

    A block's map is h + s (A z + a) with z of `Scale` and s its `last`, so that one learning rate serves all models. It
    falls linearly to nothing. Blocks share no parameter: together they cost one forward pass and are as if alone.

    Args:
        loaded: the model, whose parameters take no gradient.
        weight, bias: A (K, D, D) and a (K, D) to start from, in units of z and h.
        scale: of the residuals.
        learning_rate: of the first step.
    """

    def __init__(
        self, loaded: LoadedModel, weight: torch.Tensor, bias: torch.Tensor, scale: Scale, learning_rate: float
    ) -> None:
        self._loaded, self._project = loaded, Projection(loaded.model)
        self._scale, self._rate = scale, learning_rate
        self._mean, self._inverse = (part.float().to(loaded.device) for part in (scale.mean, 1 / scale.std))
        self._own = [(part / scale.last).float().to(loaded.device).requires_grad_() for part in (weight, bias)]
        self._optimiser = torch.optim.Adam(self._own, lr=learning_rate)

    def run(self, pixels: Any, batches: list[Array], batch_size: int) -> None:
        """Take a step for each batch, given by ascending numbers of images in an open data set of pixels.

        `batch_size` images go through at once, at most; a batch of more is cut, and its gradients are added.
        """
        with Progress(len(batches), "tuning the lens", "step") as progress:
            for number, chosen in enumerate(batches):
                images = pixels[chosen]
                total = [torch.zeros_like(part) for part in self._own]

                def one(few: slice, images: Array = images, total: list[torch.Tensor] = total) -> None:
                    gradients = self.gradients(self._loaded.normalise(images[few]), len(images))
                    for so_far, gradient in zip(total, gradients, strict=True):
                        so_far += gradient

                batch_size = with_oom_backoff(len(images), batch_size, one)
                for part, gradient in zip(self._own, total, strict=True):
                    part.grad = gradient
                for group in self._optimiser.param_groups:
                    group["lr"] = self._rate * (1 - number / len(batches))
                self._optimiser.step()
                progress.advance()

    def found(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return M (K, D, D) and m (K, D) of h, float64."""
        # To where float64 is known, then to float64.
        weight, bias = (part.detach().to(self._scale.mean.device).double() * self._scale.last for part in self._own)
        return self._scale.of_residual(weight, bias)

    def gradients(self, images: torch.Tensor, of: int) -> list[torch.Tensor]:
        """Return the gradients, by A and a, of the mean divergence over `of` images: the share of some (n, 3, H, W)."""
        with torch.no_grad(), self._loaded.autocast():
            *before, last = residuals(self._loaded.model, images)
            target = self._project(last).log_softmax(-1)
        found: list[list[torch.Tensor]] = [[], []]
        for block, residual in enumerate(before):
            tokens = residual.float()
            # A block at a time, so that logits with their history are those of one block.
            own = [part[block].detach().requires_grad_() for part in self._own]
            z = (tokens - self._mean[block]) * self._inverse[block]
            tuned = tokens + self._scale.last * linear(z, *own)
            loss = divergence(target, self._project(tuned)).mean(-1).sum() / of
            for gradients, gradient in zip(found, torch.autograd.grad(loss, own), strict=True):
                gradients.append(gradient)
        return [torch.stack(gradients) for gradients in found]


def seeded_batches(images: Array, steps: int, size: int, seed: int) -> list[Array]:
    """Return the images of each step: no image again before all were drawn, but for those that fill no whole batch.

    Batches have `size` of the images to draw from, or all where there are fewer.
    """
    size, draw = min(size, len(images)), np.random.default_rng(seed)

    def drawn() -> Iterator[Array]:
        while True:
            order = draw.permutation(images)
            yield from (np.sort(order[start : start + size]) for start in range(0, len(order) - size + 1, size))

    return [batch for _, batch in zip(range(steps), drawn(), strict=False)]
