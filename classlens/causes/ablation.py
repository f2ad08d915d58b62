"""Replace what heads or tokens hold by its mean over images, and see what becomes of the correct class's logit.

Sums over images, from which the means follow, take one pass. Then a batch goes through the model once as it is, and
every replacement at a block starts from what entered that block, so that no block in front of it runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from classlens.inference.attention import Attention, patch_attention
from classlens.inference.batches import over_images
from classlens.inference.interventions import ablate_heads
from classlens.inference.network import LoadedModel
from classlens.inference.tokens import TokenModel

Sums = Callable[[LoadedModel, str, int, range], torch.Tensor]
"""sums(loaded, pixels, batch_size, numbers of stored images) -> float64."""


def head_sums(loaded: LoadedModel, pixels: str, batch_size: int, numbers: range) -> torch.Tensor:
    """Return what each head of each block puts out at each token, summed over stored images: (B, H, T, d)."""
    model = TokenModel(loaded.model)

    def of_batch(images: torch.Tensor) -> torch.Tensor:
        outputs: list[torch.Tensor] = []

        def attend(_block: int, attention: Attention) -> torch.Tensor:
            outputs.append(attention.output())
            return outputs[-1]

        with patch_attention(loaded.model, attend):
            model.run(model.embed(images))
        return torch.stack([output.double().sum(0) for output in outputs])

    return _summed(loaded, pixels, batch_size, "averaging heads", of_batch, numbers)


def residual_sums(loaded: LoadedModel, pixels: str, batch_size: int, numbers: range) -> torch.Tensor:
    """Return every block's output at each token, summed over stored images: (B, T, D)."""
    model = TokenModel(loaded.model)

    def of_batch(images: torch.Tensor) -> torch.Tensor:
        return torch.stack([tokens.double().sum(0) for tokens in _residuals(model, model.embed(images))[1:]])

    return _summed(loaded, pixels, batch_size, "averaging tokens", of_batch, numbers)


def _summed(
    loaded: LoadedModel,
    pixels: str,
    batch_size: int,
    what: str,
    of_batch: Callable[[torch.Tensor], torch.Tensor],
    numbers: range,
) -> torch.Tensor:
    """Return the sum over stored images of what `of_batch` sums in float64 over a batch."""
    total = torch.zeros((), dtype=torch.float64, device=loaded.device)

    @torch.inference_mode()
    def run(images: torch.Tensor, _part: slice) -> None:
        nonlocal total
        with loaded.autocast():
            summed = of_batch(images)
        total = total + summed

    over_images(loaded, pixels, batch_size, what, run, numbers)
    return total


def _residuals(model: TokenModel, tokens: torch.Tensor) -> list[torch.Tensor]:
    """Return what enters each block, and last what leaves the last one: (n, T, D) each."""
    found = [tokens]
    for block in range(len(model.model.blocks)):
        found.append(model.run(found[-1], slice(block, block + 1)))
    return found


@dataclass(frozen=True)
class Effects:
    """What replacing something does to n images.

    Attributes:
        effect: (n, ...), the correct class's output logit as it is minus what it becomes.
        correct: bool (n, ...), the model's largest logit is still the correct class's.
        logit: (n), the correct class's output logit as it is.
    """

    effect: torch.Tensor
    correct: torch.Tensor
    logit: torch.Tensor


class Ablation:
    """A model of which heads or tokens can be replaced.

    Args:
        model: a supported timm model in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self.tokens = TokenModel(model)

    @torch.inference_mode()
    def heads(self, images: torch.Tensor, classes: torch.Tensor, means: torch.Tensor) -> Effects:
        """Replace one head after the other by its mean, at every token: effect and correct are (n, B, H).

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the correct ones.
            means: (B, H, T, d), means of `head_sums`.
        """
        residuals = _residuals(self.tokens, self.tokens.embed(images))

        def ablated() -> Iterator[torch.Tensor]:
            for block, of_heads in enumerate(means):
                for head, mean in enumerate(of_heads):
                    with patch_attention(self.tokens.model, ablate_heads({(block, head): mean})):
                        changed = self.tokens.run(residuals[block], slice(block, block + 1))
                    yield self.tokens.run(changed, slice(block + 1, None))

        return self._effects(residuals[-1], ablated(), classes, means.shape[:2])

    @torch.inference_mode()
    def image_tokens(
        self, images: torch.Tensor, classes: torch.Tensor, means: torch.Tensor, sets: torch.Tensor
    ) -> Effects:
        """Replace sets of image tokens behind each block by their means: effect and correct are (n, B, S).

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the correct ones.
            means: (B, T, D), means of `residual_sums`.
            sets: bool (n, B, S, P), the image tokens that are replaced together.
        """
        residuals = _residuals(self.tokens, self.tokens.embed(images))
        prefix = self.tokens.prefix

        def replaced() -> Iterator[torch.Tensor]:
            for block, mean in enumerate(means):
                residual = residuals[block + 1]
                for tokens in sets[:, block].unbind(1):
                    changed = residual.clone()
                    changed[:, prefix:] = torch.where(
                        tokens[..., None], mean[prefix:].to(residual), residual[:, prefix:]
                    )
                    yield self.tokens.run(changed, slice(block + 1, None))

        return self._effects(residuals[-1], replaced(), classes, sets.shape[1:3])

    def _effects(
        self, intact: torch.Tensor, changed: Iterator[torch.Tensor], classes: torch.Tensor, shape: torch.Size
    ) -> Effects:
        logit = self._logits(intact, classes)[0]
        effect, correct = [], []
        for residual in changed:
            one, right = self._logits(residual, classes)
            effect.append(logit - one)
            correct.append(right)
        n = len(classes)
        return Effects(torch.stack(effect, 1).reshape(n, *shape), torch.stack(correct, 1).reshape(n, *shape), logit)

    def _logits(self, residual: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the correct class's logit (n), and whether it is the largest (n)."""
        logits = self.tokens.logits(residual)
        return logits.gather(1, classes[:, None])[:, 0], logits.argmax(-1) == classes
