"""Replace what heads or tokens hold by its mean over images, and see what becomes of the correct class's logit.

A batch goes through the model once as it is, and every replacement at a block starts from what entered that block, so
that no block before it runs again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from classlens.inference.attention import Attention, patch_attention
from classlens.inference.interventions import ablate_heads
from classlens.inference.tokens import TokenModel


def attended(model: TokenModel, images: torch.Tensor) -> list[torch.Tensor]:
    """Return what the heads of each block put out (n, H, T, d), for images (n, 3, H, W)."""
    outputs: list[torch.Tensor] = []

    def attend(_block: int, attention: Attention) -> torch.Tensor:
        outputs.append(attention.output())
        return outputs[-1]

    with patch_attention(model.model, attend):
        model.run(model.embed(images))
    return outputs


def residuals_of(model: TokenModel, tokens: torch.Tensor) -> list[torch.Tensor]:
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

        Images are (n, 3, H, W), normalised, classes (n) the correct ones, means (B, H, T, d) those of `attended`.
        """
        residuals = residuals_of(self.tokens, self.tokens.embed(images))

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
        """Replace sets of image tokens after each block by their means: effect and correct are (n, B, S).

        Images are (n, 3, H, W), normalised, classes (n) the correct ones, means (B, T, D) those of blocks' outputs, and
        sets bool (n, B, S, P), the image tokens that are replaced together.
        """
        residuals = residuals_of(self.tokens, self.tokens.embed(images))
        prefix = self.tokens.prefix

        def replaced() -> Iterator[torch.Tensor]:
            for block, mean in enumerate(means):
                residual = residuals[block + 1]
                for tokens in sets[:, block].unbind(1):
                    images = torch.where(tokens[..., None], mean[prefix:].to(residual), residual[:, prefix:])
                    changed = torch.cat([residual[:, :prefix], images], 1)
                    yield self.tokens.run(changed, slice(block + 1, None))

        return self._effects(residuals[-1], replaced(), classes, sets.shape[1:3])

    def _effects(
        self, intact: torch.Tensor, changed: Iterator[torch.Tensor], classes: torch.Tensor, shape: torch.Size
    ) -> Effects:
        logit = self._logits(intact, classes)[0]
        becomes, correct = zip(*(self._logits(residual, classes) for residual in changed), strict=True)
        effect, shape = logit[:, None] - torch.stack(becomes, 1), torch.Size((len(classes), *shape))
        return Effects(effect.reshape(shape), torch.stack(correct, 1).reshape(shape), logit)

    def _logits(self, residual: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the correct class's logit (n), and whether it is the largest (n)."""
        logits = self.tokens.logits(residual)
        return logits.gather(1, classes[:, None])[:, 0], logits.argmax(-1) == classes
