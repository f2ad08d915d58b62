"""Run a model from its embedded tokens, on all of them or on a subset that is really all that is computed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, NoReturn

import torch

from classlens.errors import InputError
from classlens.inference.attention import EVERY, Attention, patch_attention
from classlens.inference.guard import piecewise
from classlens.inference.probe import attention_behaviour, behaviour, made_up, readout
from classlens.models.pooling import adds_positions, first_pooled


class TokenModel:
    """A vision transformer cut where its blocks begin: after the position embedding and the norm in front of them.

    Between the cut and the head nothing but attention mixes tokens, so tokens that are left out cost nothing. What
    tells blocks about positions is taken along: rotary embeddings and relative-position biases are picked for the
    tokens that are kept.

    Args:
        model: a supported timm model in evaluation mode.

    Raises:
        InputError: its attention cannot be reached, see `probe.attention_behaviour`.
    """

    def __init__(self, model: Any) -> None:
        attention_behaviour(model)
        facts = behaviour(model)
        self.model, self.classes = model, facts.classes
        self.prefix: int = model.num_prefix_tokens
        self.patches: int = model.patch_embed.num_patches
        self.pools_class_token: bool = model.global_pool == "token"
        self.needs_image_tokens: bool = not self.pools_class_token and first_pooled(model) == self.prefix
        self._keywords, self._biased = _positions(model, made_up(model, facts.channels))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the tokens (n, T, D) that enter the first block, of images (n, 3, H, W), normalised.

        Raises:
            InputError: the images have not the size that the model takes.
        """
        size = tuple(self.model.patch_embed.img_size)
        if tuple(images.shape[-2:]) != size:
            raise InputError(f"images of {tuple(images.shape[-2:])} pixels: the model takes {size}; resize them")

        def stop(_module: Any, inputs: tuple[torch.Tensor, ...]) -> NoReturn:
            raise _Embedded(inputs[0])

        handle = self.model.blocks[0].register_forward_pre_hook(stop)
        try:
            with piecewise():
                self.model.forward_features(images)
        except _Embedded as reached:
            return reached.tokens
        finally:
            handle.remove()
        raise AssertionError("the model never ran its first block")

    def residual(
        self, tokens: torch.Tensor, kept: torch.Tensor | None = None, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run the blocks.

        Args:
            tokens: (n, T, D), embedded.
            kept: (n, K), the image tokens (0..P-1) that are kept of each image; None keeps all. Prefix tokens stay.
            lengths: (n), how many of `kept` count; the rest is padding that no token attends to. None: all count.

        Returns:
            the last block's output (n, prefix + K, D), in the order of `kept`; padding holds numbers without meaning.

        Raises:
            InputError: some tokens are left out, and the model's pool cannot do without.
        """
        if kept is None:
            return self.run(tokens)
        if adds_positions(self.model):
            raise InputError("the model's attention pool adds positions of its own, so it takes all tokens or none")
        positions = torch.cat(
            [torch.arange(self.prefix, device=kept.device).expand(len(kept), -1), kept + self.prefix], dim=1
        )
        tokens = tokens.gather(1, positions[..., None].expand(-1, -1, tokens.shape[-1]))
        keywords = [_pick_rotary(keyword, kept) for keyword in self._keywords]
        padded = None if lengths is None else _padding(positions.shape[1], lengths + self.prefix)
        if not self._biased and padded is None:
            return self.run(tokens, keywords=keywords)

        def attend(_block: int, attention: Attention) -> torch.Tensor:
            bias = None if attention.bias is None else _pick_bias(attention.bias, positions)
            if padded is not None:
                hidden = torch.zeros_like(padded, dtype=attention.query.dtype).masked_fill(padded, float("-inf"))
                bias = hidden if bias is None else bias + hidden
            return Attention(attention.query, attention.key, attention.value, bias, attention.scale).output()

        with patch_attention(self.model, attend):
            return self.run(tokens, keywords=keywords)

    def logits(self, residual: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Return the model's output (n, C) for the last residual (n, prefix + K, D), pooling no padding."""
        if lengths is None or self.pools_class_token:
            return readout(self.model, residual).float()
        # The model's own pooling, for all images with equally many tokens at once: it knows no padding.
        result = residual.new_empty(len(residual), self.classes, dtype=torch.float32)
        for length in sorted(set(lengths.tolist())):
            chosen = lengths == length
            result[chosen] = readout(self.model, residual[chosen, : self.prefix + length]).float()
        return result

    def run(
        self, tokens: torch.Tensor, blocks: slice = EVERY, keywords: list[dict[str, Any]] | None = None
    ) -> torch.Tensor:
        """Run some blocks on what enters the first of them, and return what leaves the last one, (n, T, D).

        No blocks return the tokens as they are. `keywords` are what every block of the model is handed besides; None:
        that of all tokens.
        """
        given = self._keywords if keywords is None else keywords
        with piecewise():
            for block, keyword in zip(list(self.model.blocks)[blocks], given[blocks], strict=True):
                tokens = block(tokens, **keyword)
        return tokens


class _Embedded(Exception):
    """Tells of no error: it ends a forward pass that has done its part."""

    def __init__(self, tokens: torch.Tensor) -> None:
        super().__init__()
        self.tokens = tokens


@torch.no_grad()
def _positions(model: Any, image: torch.Tensor) -> tuple[list[dict[str, Any]], bool]:
    """Return what the model hands to each block besides tokens, and whether attention scores get a bias.

    Neither depends on the image.
    """
    keywords: list[dict[str, Any]] = []
    biased = []

    def attend(_block: int, attention: Attention) -> torch.Tensor:
        biased.append(attention.bias is not None)
        return attention.output()

    def note(_module: Any, _inputs: Any, given: dict[str, Any]) -> None:
        keywords.append(given)

    with ExitStack() as stack:
        for block in model.blocks:
            stack.callback(block.register_forward_pre_hook(note, with_kwargs=True).remove)
        stack.enter_context(patch_attention(model, attend))
        model.forward_features(image)
    return keywords, any(biased)


def _pick_rotary(keyword: dict[str, Any], kept: torch.Tensor) -> dict[str, Any]:
    """Return a block's keywords with the rotary embeddings of the kept image tokens; prefix tokens have none.

    They come as (P, d), one for all heads, or (H, P, d); timm takes them per image as (n, 1 or H, K, d).
    """
    rotary = keyword.get("rope")
    if rotary is None:
        return keyword
    by_head = rotary if rotary.ndim == 3 else rotary[None]
    return {**keyword, "rope": by_head[:, kept].transpose(0, 1)}


def _pick_bias(bias: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the biases (n, H, K, K) between the kept tokens out of those of all tokens, (1, H, T, T) or (H, T, T)."""
    by_head = bias.reshape(bias.shape[-3:])
    return by_head[:, positions[:, :, None], positions[:, None, :]].transpose(0, 1)


def _padding(width: int, lengths: torch.Tensor) -> torch.Tensor:
    """Return bool (n, 1, 1, width), True where a token is padding."""
    return (torch.arange(width, device=lengths.device) >= lengths[:, None])[:, None, None]
