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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any

import torch

from classlens.attribution.norms import FrozenNorm
from classlens.errors import InputError
from classlens.inference.attention import Attention, patch_attention, patch_pool
from classlens.inference.branch import POST_NORM_BLOCKS
from classlens.inference.guard import Spot, watch
from classlens.inference.probe import attention_behaviour, behaviour, made_up, once
from classlens.inference.projection import Projection
from classlens.models.facts import CLS_MEAN, SUM_OVER_TOKENS
from classlens.models.linear import LinearMap, linear_map
from classlens.models.needs import require
from classlens.models.pooling import first_pooled
from classlens.models.split import Head

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
        self._norm = FrozenNorm(getattr(model, "norm", None), "the last norm")
        self._readouts = _readouts(model)
        facts = attention_behaviour(model)
        self._branches = [
            _Branch(block, number, facts.heads[number], facts.head_width[number])
            for number, block in enumerate(model.blocks)
        ]
        few = all(readout.count <= FEW for readout in self._readouts)
        tokens = model.num_prefix_tokens + model.patch_embed.num_patches
        # Per block weights, or queries, keys and values, which lie together; a block at a time, weights and scores.
        weights = facts.heads[0] * tokens**2
        numbers = (len(model.blocks) + 2) * weights
        self._keeps_weights = not few and 4 * numbers <= KEPT_BYTES
        if not self._keeps_weights:
            numbers = tokens * 3 * len(model.blocks) * model.embed_dim + 3 * weights
        self.images_that_fit: int = sys.maxsize if few else max(1, KEPT_BYTES // (4 * numbers))
        """How many images go through at once, at most."""

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, classes: torch.Tensor) -> Attribution:
        """Attribute the logit of one class of each image, in one forward pass.

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n).

        Returns:
            contributions in the precision of the model's parameters, float32 at least.
        """
        # In full precision whatever autocast does: large parts may cancel.
        exactly = partial(torch.autocast, images.device.type, enabled=False)
        dtype = torch.promote_types(self._readouts[0].weight.dtype, torch.float32)
        with exactly():
            passes = [_Pass(self._norm, readout, self._branches, classes) for readout in self._readouts]

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

        def attend_in_pool(attention: Attention) -> torch.Tensor:
            with exactly():
                exact = replace(attention, query=attention.query.to(dtype), key=attention.key.to(dtype)).weights()
            read = exact.mean(2) if self._model.attn_pool.pool == "avg" else exact[:, :, 0]
            for one, weights in zip(passes, read.unbind(1), strict=True):
                one.read_pool(weights)
            return exact.to(attention.value.dtype) @ attention.value

        with (
            patch_attention(self._model, attend),
            patch_pool(self._model, attend_in_pool),
            _reading(self._model, self._branches, passes),
        ):
            output = self._model(images)
        with exactly():
            found = [one.contributions() for one in passes]
        parts = {name: torch.stack([each[name] for each in found]).sum(0) for name in found[0]}
        return Attribution(**parts, logit=output.gather(1, classes[:, None])[:, 0].to(parts["constant"]))


@dataclass(frozen=True)
class _Readout:
    """Rows of a head and the tokens whose mean they read, or what a head of an attention pool attends to."""

    weight: torch.Tensor
    """(C, D), of what the pooling puts out."""
    bias: torch.Tensor | None
    share: float
    """Of this head in the output."""
    tokens: slice
    count: int
    pooled_norm: FrozenNorm
    """After the pooling."""
    of_pool: LinearMap | None = None
    """What the head of the pool makes of a token (D, D), its part of the output; None: there is no such pool."""
    with_biases: bool = True
    """Of several that read one pooled vector, one brings the biases of what follows it."""


def _readouts(model: Any) -> list[_Readout]:
    project = Projection(model)
    if project.distilled is not None:
        none = FrozenNorm(None, "")
        heads = [_linear(head) for head in (project.head, project.distilled)]
        return [
            _Readout(head.weight, head.bias, 0.5, slice(token, token + 1), 1, none) for token, head in enumerate(heads)
        ]
    pooled = FrozenNorm(getattr(model, "fc_norm", None), "the norm after the pooling")
    head = _linear(project.head)
    if model.global_pool == "token":
        return [_Readout(head.weight, head.bias, 1.0, slice(0, 1), 1, pooled)]
    first, total = first_pooled(model), model.num_prefix_tokens + model.patch_embed.num_patches
    tokens, count = slice(first, total), total - first
    if model.global_pool == CLS_MEAN:
        of_class_token, of_mean = torch.split(head.weight, model.embed_dim, dim=1)
        return [
            _Readout(of_class_token, None, 1.0, slice(0, 1), 1, pooled, with_biases=False),
            _Readout(of_mean, head.bias, 1.0, tokens, count, pooled),
        ]
    if (pool := getattr(model, "attn_pool", None)) is not None:
        parts = _pool_heads(pool)
        return [
            _Readout(head.weight, head.bias, 1.0, tokens, count, pooled, part, number == 0)
            for number, part in enumerate(parts)
        ]
    return [_Readout(head.weight, head.bias, 1.0, tokens, count, pooled)]


def _linear(head: Head) -> LinearMap:
    assert head.last is not None
    return head.last


def _pool_heads(pool: Any) -> list[LinearMap]:
    """Return what each head of a pool without MLP makes of a token that it attends to, in what the pool puts out."""
    width = pool.kv.in_features
    of_value = linear_map(pool.kv, width, "kv of the attention pool")
    projection = linear_map(pool.proj, width, "proj of the attention pool")
    maps = []
    for head in range(pool.num_heads):
        rows = slice(head * pool.head_dim, (head + 1) * pool.head_dim)
        values = slice(width + rows.start, width + rows.stop)
        out = projection.weight[:, rows]
        bias = out.new_zeros(len(out)) if of_value.bias is None else out @ of_value.bias[values]
        if projection.bias is not None and head == 0:
            bias = bias + projection.bias
        maps.append(LinearMap(out @ of_value.weight[values], bias))
    return maps


class _Branch:
    """What stands between a block's heads and the residual stream: norm, projection, LayerScale, norm.

    Blocks have some of these at most. The first norm stands inside the attention, the last after the branch.
    """

    def __init__(self, block: Any, number: int, heads: int, head_width: int) -> None:
        attention = block.attn
        self.block, self.heads = block, heads
        self.inner = FrozenNorm(getattr(attention, "norm", None), f"the norm inside the attention of block {number}")
        self.projection = linear_map(attention.proj, heads * head_width, f"attn.proj of block {number}")
        self.layer_scale = _layer_scale(block, self.projection.weight)
        post = block.norm1 if isinstance(block, POST_NORM_BLOCKS) else None
        self.post = FrozenNorm(post, f"the norm after the attention of block {number}")

    def pull_back(self, u: torch.Tensor) -> torch.Tensor:
        """Return for u (n, D) at the residual stream what it is at the heads' outputs, (n, H, d)."""
        at_heads = self.inner.pull_back(self._after_projection(u) @ self.projection.weight.to(u.dtype))
        return at_heads.reshape(len(u), self.heads, -1)

    def constants(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the branch adds whatever the heads put out, along u (n, D).

        Returns:
            (n), in front of the post-norm, whose scale it still lacks, and after it.
        """
        after = self._after_projection(u)
        front = self.inner.bias(after @ self.projection.weight.to(u.dtype))
        if self.projection.bias is not None:
            front = front + after @ self.projection.bias.to(u.dtype)
        return front, self.post.bias(u)

    def _after_projection(self, u: torch.Tensor) -> torch.Tensor:
        pulled = self.post.pull_back(u)
        return pulled if self.layer_scale is None else pulled * self.layer_scale


@torch.no_grad()
def _layer_scale(block: Any, weight: torch.Tensor) -> torch.Tensor | None:
    """Return what LayerScale multiplies each channel by, (D), as the module does it; None: there is none."""
    module = getattr(block, "ls1", None)
    if module is None or isinstance(module, torch.nn.Identity):
        return getattr(block, "gamma_1", None)
    found: torch.Tensor = module(weight.new_ones(1, 1, len(weight)))[0, 0]
    return found


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


class _Pass:
    """What one forward pass shows of one readout; Q destinations, its tokens."""

    def __init__(self, norm: FrozenNorm, readout: _Readout, branches: list[_Branch], classes: torch.Tensor) -> None:
        self._norm, self._readout, self._branches, self.pooled_norm = norm, readout, branches, readout.pooled_norm
        weight = readout.weight
        self._dtype = torch.promote_types(weight.dtype, torch.float32)
        w = readout.share * weight[classes].to(self._dtype)
        bias, of_pool = readout.bias, readout.of_pool
        after_pooling = self.pooled_norm.pull_back(w)
        at_tokens = after_pooling if of_pool is None else after_pooling @ of_pool.weight.to(self._dtype)
        self._u = norm.pull_back(at_tokens)
        self._constant = self.pooled_norm.bias(w) + (0 if bias is None else readout.share * bias[classes])
        if not readout.with_biases:
            self._constant = torch.zeros_like(self._constant)
        self._norm_bias = norm.bias(at_tokens)
        if of_pool is not None and of_pool.bias is not None:
            self._norm_bias = self._norm_bias + after_pooling @ of_pool.bias.to(self._dtype)
        self._at_heads = [branch.pull_back(self._u) for branch in branches]
        self._read: list[torch.Tensor] = []
        self._rows: list[Attention | torch.Tensor] = []
        ones = self._u.new_ones(len(w), readout.count)
        self._scales = [ones] * len(branches)
        self._post_scales = [ones] * len(branches)
        self._mlp: list[torch.Tensor] = []
        self._pooled = ones[:, 0]
        self._shares: torch.Tensor | None = None

    def read_attention(self, block: int, attention: Attention, weights: torch.Tensor | None) -> None:
        """Keep u . v (n, H, T), and the attention weights of the destinations or what they come from.

        Args:
            block: its number.
            attention: of the block.
            weights: (n, H, T, T), where they are known.
        """
        with torch.autocast(attention.value.device.type, enabled=False):
            # Not as a product of matrices, which would first move the values to where it wants them.
            self._read.append((attention.value.to(self._dtype) * self._at_heads[block][:, :, None]).sum(-1))
            if weights is not None:
                self._rows.append(weights[:, :, self._readout.tokens])
                return
            rows = _rows_of(attention, self._readout.tokens, self._dtype)
            self._rows.append(rows.weights() if self._readout.count <= FEW else rows)

    def read_inner(self, heads: torch.Tensor, block: int) -> None:
        """Keep the scale of the norm inside the attention, given what it sees (n, T, D)."""
        self._scales[block] = self._branches[block].inner.scale(self._destinations(heads))

    def read_post(self, projected: torch.Tensor, block: int) -> None:
        """Keep the scale of the norm after the attention, given what it sees (n, T, D)."""
        self._post_scales[block] = self._branches[block].post.scale(self._destinations(projected))

    def read_mlp(self, added: torch.Tensor) -> None:
        """Keep u . what the next block's MLP adds at the destinations (n, Q)."""
        self._mlp.append(self._along_u(added))

    def read_embedding(self, tokens: torch.Tensor) -> None:
        """Keep u . the destinations' input to the first block (n, Q)."""
        self._embedding = self._along_u(tokens)

    def read_last(self, residual: torch.Tensor) -> None:
        """Keep the scale of the last norm at the destinations (n, Q)."""
        self._last = self._norm.scale(self._destinations(residual))

    def read_pooled(self, pooled: torch.Tensor) -> None:
        """Keep the scale of the norm after the pooling (n), given what it sees (n, D)."""
        self._pooled = self.pooled_norm.scale(pooled.to(self._dtype))

    def read_pool(self, weights: torch.Tensor) -> None:
        """Keep what the head of the pool attends to (n, Q)."""
        self._shares = weights.to(self._dtype)

    def contributions(self) -> dict[str, torch.Tensor]:
        """Return this readout's share of `Attribution`, by name."""
        weight = self._last * self._pooled[:, None]
        weight = weight / self._readout.count if self._shares is None else weight * self._shares
        heads, biases = [], []
        for block, branch in enumerate(self._branches):
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

    def _destinations(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, self._readout.tokens].to(self._dtype)

    def _along_u(self, tokens: torch.Tensor) -> torch.Tensor:
        with torch.autocast(tokens.device.type, enabled=False):
            return (self._destinations(tokens) @ self._u[..., None])[..., 0]


def _rows_of(attention: Attention, rows: slice, dtype: torch.dtype) -> Attention:
    """Return the attention of some tokens to all."""
    bias = attention.bias
    if bias is not None:
        bias = bias.expand(*attention.query.shape[:-1], attention.key.shape[-2])[:, :, rows].to(dtype)
    return replace(attention, query=attention.query[:, :, rows].to(dtype), key=attention.key.to(dtype), bias=bias)


@contextmanager
def _reading(model: Any, branches: list[_Branch], passes: list[_Pass]) -> Iterator[None]:
    """Show the passes what the model computes."""

    def spot(name: str, read: Callable[..., None], before: bool, blocks: list[int], *, by_block: bool = False) -> Spot:
        def seen(block: int, values: torch.Tensor) -> None:
            for one in passes:
                read(one, values, block) if by_block else read(one, values)

        return Spot(name, attrgetter(name) if name else lambda block: block, seen, before, blocks)

    every = range(len(branches))
    inner = [number for number in every if branches[number].inner.module is not None]
    post = [number for number in every if branches[number].post.module is not None]
    spots = [
        spot("", _Pass.read_embedding, True, [0]),
        spot("attn.norm", _Pass.read_inner, True, inner, by_block=True),
        spot("norm1", _Pass.read_post, True, post, by_block=True),
        spot("drop_path2", _Pass.read_mlp, False, list(every)),
        spot("", _Pass.read_last, False, [len(branches) - 1]),
    ]
    with ExitStack() as stack:
        pooled = passes[0].pooled_norm.module
        if pooled is not None:

            def read(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
                for one in passes:
                    one.read_pooled(inputs[0])

            stack.callback(pooled.register_forward_pre_hook(read).remove)
        stack.enter_context(watch(model, *spots))
        yield
