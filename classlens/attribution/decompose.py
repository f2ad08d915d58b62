"""The model's output logit of a class as an exact sum: what each head reads where, each MLP, embedding, constants.

Norms after a branch are frozen at what they see on the image, see `norms`; what is left between a branch and the
logit is linear, so that a sum of branches is a sum of contributions. After Gandelsman, Efros, Steinhardt, ICLR 2024
(arXiv 2310.05916), there for CLIP; see docs/method.md, direct logit attribution.

The class's row w of the head is pulled back to the residual stream once, and from there through each block's output
projection to its heads: u[b, h]. Then what head h writes from token j is A[b, h, dest, j] * (u[b, h] . v[b, h, j]), a
product of two numbers: no vector (D) is ever made for a head and a token. As every frozen norm is one number per
destination times a matrix that all share, this holds for an average over many destinations, too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from classlens.attribution.branches import Branch, branches_of
from classlens.attribution.frozen import Frozen, freezing, spot
from classlens.attribution.norms import FrozenNorm
from classlens.attribution.readouts import Readout, readouts_of
from classlens.errors import InputError
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.probe import attention_behaviour, behaviour, made_up, once
from classlens.models.facts import SUM_OVER_TOKENS
from classlens.models.needs import require

FEW = 2
"""Rows of attention that take less memory than the queries and keys that they come from."""
MOST_GAP = 1e-3
"""Of the sum of the parts from the logit, as a share of the largest part: what rounding in float32 stays far below."""
KEPT_BYTES = 2**31
"""Memory that may be taken by attention which is kept until the last norm is known."""


@dataclass(frozen=True)
class Attribution:
    """Contributions to the output logit of one class of each image; n images, B blocks, H heads, T tokens.

    Attributes:
        heads: (n, B, H, T), what a head writes into the logit from each token that it reads.
        attention_bias: (n, B), what is constant in the attention branch: biases after the heads.
        mlp: (n, B), what the MLP branch writes.
        embedding: (n), of the destination's input to the first block.
        constant: (n), biases of the last norms and of the head.
        logit: (n), the model's own output, which all of these sum up to.
    """

    heads: torch.Tensor
    attention_bias: torch.Tensor
    mlp: torch.Tensor
    embedding: torch.Tensor
    constant: torch.Tensor
    logit: torch.Tensor

    def gap(self) -> torch.Tensor:
        """Return |sum of the parts - logit| as a share of the largest part (n)."""
        parts = [self.heads.flatten(1), self.attention_bias, self.mlp, self.embedding[:, None], self.constant[:, None]]
        total = sum(part.sum(1) for part in parts)
        largest = torch.stack([part.abs().amax(1) for part in parts]).amax(0)
        return (total - self.logit).abs() / largest.clamp(min=torch.finfo(largest.dtype).tiny)


class LogitAttribution:
    """Attributes the output logits of a model.

    Args:
        model: a supported timm model in evaluation mode whose head is linear, as is its pooling but for the weights of
            an attention pool, which are frozen at what they are on the image.
        tried: it is known that parts add up; otherwise that is tried with a made-up image.

    Raises:
        InputError: its attention is gated, it pools in another way, a norm is none that can be frozen, a layer is not
            linear, or the parts do not add up.
    """

    def __init__(self, model: Any, *, tried: bool = False) -> None:
        require(model, SUM_OVER_TOKENS, "direct logit attribution")
        if not tried:
            once(model, _require_sum, hooks=True)
        self._model = model
        self.norm = FrozenNorm(getattr(model, "norm", None), "the last norm")
        self.readouts = readouts_of(model)
        self.branches = branches_of(model)
        few = all(readout.count <= FEW for readout in self.readouts)
        tokens = model.num_prefix_tokens + model.patch_embed.num_patches
        # Per block weights, or queries, keys and values, which lie together; a block at a time, weights and scores.
        weights = attention_behaviour(model).heads[0] * tokens**2
        numbers = (len(model.blocks) + 2) * weights
        self._keeps_weights = not few and 4 * numbers <= KEPT_BYTES
        if not self._keeps_weights:
            numbers = tokens * 3 * len(model.blocks) * model.embed_dim + 3 * weights
        self.images_that_fit: int = sys.maxsize if few else max(1, KEPT_BYTES // (4 * numbers))
        """How many images go through at once, at most."""

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, classes: torch.Tensor) -> Attribution:
        """Attribute the logit of one class (n) of each image (n, 3, H, W), normalised, in one forward pass.

        Contributions come in the precision of the model's parameters, float32 at least.
        """
        # In full precision whatever autocast does: large parts may cancel.
        exactly = partial(torch.autocast, images.device.type, enabled=False)
        dtype = torch.promote_types(self.readouts[0].weight.dtype, torch.float32)
        with exactly():
            passes = [_Pass(self.norm, readout, self.branches, classes) for readout in self.readouts]

        def attend(block: int, attention: Attention) -> torch.Tensor:
            if attention.nested or not self._keeps_weights:
                for one in passes:
                    one.read_attention(block, attention, attention.weights() if attention.nested else None)
                return attention.output()
            # Fused attention would not show its weights, and they are not computed twice.
            with exactly():
                weights = replace(attention, query=attention.query.to(dtype), key=attention.key.to(dtype)).weights()
            for one in passes:
                one.read_attention(block, attention, weights)
            return weights.to(attention.value.dtype) @ attention.value

        more = [
            spot("", passes, _Pass.read_embedding, True, [0]),
            spot("drop_path2", passes, _Pass.read_mlp, False, list(range(len(self.branches)))),
        ]
        with patch_attention(self._model, attend), freezing(self._model, self.branches, passes, *more):
            output = self._model(images)
        with exactly():
            found = [one.contributions() for one in passes]
        parts = {name: torch.stack([each[name] for each in found]).sum(0) for name in found[0]}
        return Attribution(**parts, logit=output.gather(1, classes[:, None])[:, 0].to(parts["constant"]))


def _require_sum(model: Any) -> None:
    """Check that the parts of a made-up image's logit add up to it."""
    attribute = LogitAttribution(model, tried=True)
    images = made_up(model, behaviour(model).channels)
    gap = float(attribute(images, torch.zeros(1, dtype=torch.long, device=images.device)).gap().max())
    if gap > max(MOST_GAP, 2**7 * torch.finfo(images.dtype).eps):
        raise InputError(
            f"direct logit attribution does not apply to this model: the parts of a logit differ from it by {gap:.1g} "
            f"of the largest part, so the model computes something that attribution does not know of (a replaced "
            f"module, or a hook that changes what goes on); take legrad"
        )


class _Pass(Frozen):
    """What one forward pass shows of one readout of some classes; Q destinations, its tokens."""

    def __init__(self, norm: FrozenNorm, readout: Readout, branches: list[Branch], classes: torch.Tensor) -> None:
        super().__init__(norm, readout, branches, len(classes))
        w = readout.share * readout.weight[classes].to(self._dtype)
        bias, of_pool = readout.bias, readout.of_pool
        after_pooling = self.readout.pooled_norm.pull_back(w)
        at_tokens = readout.pull_back(w)
        self._u = norm.pull_back(at_tokens)
        self._constant = self.readout.pooled_norm.bias(w) + (0 if bias is None else readout.share * bias[classes])
        if not readout.with_biases:
            self._constant = torch.zeros_like(self._constant)
        self._norm_bias = norm.bias(at_tokens)
        if of_pool is not None and of_pool.bias is not None:
            self._norm_bias = self._norm_bias + after_pooling @ of_pool.bias.to(self._dtype)
        self._at_heads = [branch.pull_back(self._u) for branch in branches]
        self._read: list[torch.Tensor] = []
        self._rows: list[Attention | torch.Tensor] = []
        self._mlp: list[torch.Tensor] = []

    def read_attention(self, block: int, attention: Attention, weights: torch.Tensor | None) -> None:
        """Keep u . v (n, H, T), and the destinations' rows of weights (n, H, T, T); None: what weights come from."""
        with torch.autocast(attention.value.device.type, enabled=False):
            # Not as a product of matrices, which would first move the values to where it wants them.
            self._read.append((attention.value.to(self._dtype) * self._at_heads[block][:, :, None]).sum(-1))
            if weights is not None:
                self._rows.append(weights[:, :, self.readout.tokens])
                return
            rows = _rows_of(attention, self.readout.tokens, self._dtype)
            self._rows.append(rows.weights() if self.readout.count <= FEW else rows)

    def read_mlp(self, added: torch.Tensor, _block: int) -> None:
        """Keep u . what the next block's MLP adds at the destinations (n, Q)."""
        self._mlp.append(self._along_u(added))

    def read_embedding(self, tokens: torch.Tensor, _block: int) -> None:
        """Keep u . the destinations' input to the first block (n, Q)."""
        self._embedding = self._along_u(tokens)

    def contributions(self) -> dict[str, torch.Tensor]:
        """Return this readout's share of `Attribution`, by name."""
        weight, heads, biases = self.weight(), [], []
        for block, branch in enumerate(self.branches):
            front, after = branch.constants(self._u)
            of_post = weight * self._post_scales[block]
            rows = self._rows[block]
            attention = rows.weights() if isinstance(rows, Attention) else rows
            # The mean over destinations, each with its scales, of what they attend to.
            attended = ((of_post * self._scales[block])[:, None, None] @ attention)[:, :, 0]
            heads.append(attended * self._read[block])
            biases.append(of_post.sum(1) * front + weight.sum(1) * after)
        return {
            "heads": torch.stack(heads, dim=1),
            "attention_bias": torch.stack(biases, dim=1),
            "mlp": torch.stack([(weight * added).sum(1) for added in self._mlp], dim=1),
            "embedding": (weight * self._embedding).sum(1),
            "constant": self._constant + self._pooled * self._norm_bias,
        }

    def _along_u(self, tokens: torch.Tensor) -> torch.Tensor:
        with torch.autocast(tokens.device.type, enabled=False):
            return (self._destinations(tokens) @ self._u[..., None])[..., 0]


def _rows_of(attention: Attention, rows: slice, dtype: torch.dtype) -> Attention:
    """Return the attention of some tokens to all."""
    bias = attention.bias
    if bias is not None:
        bias = bias.expand(*attention.query.shape[:-1], attention.key.shape[-2])[:, :, rows].to(dtype)
    return replace(attention, query=attention.query[:, :, rows].to(dtype), key=attention.key.to(dtype), bias=bias)
