"""Explanations from the attention weights of all blocks: relevance propagation, rollout, last attention.

All give the [CLS] row of a product of matrices, one per block. A row is a vector, so it is carried from the last block
to the first, one product of a vector with a matrix per block.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch

from classlens.explanations.methods import ATTENTION_METHODS, require_method
from classlens.perturbation.interception import Attention, attending
from classlens.perturbation.tokens import TokenModel

GRAPH_BYTES = 2**32
"""Memory that a backward pass may take."""


class AttentionExplainer:
    """Explains by attention weights.

    `chefer` (Chefer, Gur, Wolf, ICCV 2021, arXiv 2103.15679, self-attention rule): R = I, then per block R += A+ R
    with A+ the mean over heads of max(0, gradient of the class's output logit times attention).
    `rollout` (Abnar, Zuidema, ACL 2020, arXiv 2005.00928): the product of (A + I) / 2, A being the mean over heads.
    `attention`: the last block's mean over heads.

    Args:
        model: a supported timm model in evaluation mode, no parameter of which requires a gradient
            (`perturbation.running.evaluating`).
        methods: some of `ATTENTION_METHODS`; they share the forward pass, and `chefer` adds one backward pass.
        name: the model's, for messages.

    Raises:
        InputError: a method is none of these, or does not apply to the model.
    """

    def __init__(self, model: Any, methods: Sequence[str] = ATTENTION_METHODS, name: str = "the model") -> None:
        for method in methods:
            pooling = model.global_pool == "token"
            require_method(method, name, has_class_token=model.cls_token is not None, class_token_pooling=pooling)
        self._tokens, self._methods = TokenModel(model), tuple(methods)

    def images_that_fit(self) -> int:
        """Return how many images go through at once, so that what a backward pass keeps stays within `GRAPH_BYTES`."""
        if "chefer" not in self._methods:
            return sys.maxsize
        model = self._tokens.model
        tokens = self._tokens.prefix + self._tokens.patches
        # Per block and token: inputs of both norms, queries, keys, values, outputs and the MLP's hidden layer; per pair
        # of tokens and head: weights, their gradients and one intermediate result.
        width, heads = int(model.embed_dim), int(model.blocks[0].attn.num_heads)
        numbers = tokens * (12 * width + 3 * heads * tokens)
        return max(1, GRAPH_BYTES // (4 * len(model.blocks) * numbers))

    def __call__(self, images: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return by method the importance (n, P) float32 of the image tokens.

        Args:
            images: (n, 3, H, W), normalised.
            classes: (n), the classes of interest; only `chefer` depends on them.
        """
        with_gradient = "chefer" in self._methods
        weights: list[torch.Tensor] = []
        means: list[torch.Tensor] = []

        def attend(_block: int, attention: Attention) -> torch.Tensor:
            of_block = attention.weights()
            means.append(of_block.detach().mean(1))
            if with_gradient:
                if not weights:
                    # Nothing before the first block's weights is of interest: the graph begins here.
                    of_block = of_block.detach().requires_grad_()
                weights.append(of_block)
            return of_block.to(attention.value.dtype) @ attention.value

        with torch.no_grad():
            tokens = self._tokens.embed(images)
        with torch.set_grad_enabled(with_gradient), attending(self._tokens.model, attend):
            residual = self._tokens.residual(tokens)
            if with_gradient:
                logit = self._tokens.logits(residual).gather(1, classes[:, None]).sum()
                gradients = torch.autograd.grad(logit, weights)
        with torch.no_grad():
            found = {}
            if with_gradient:
                positive = [(a * g).clamp(min=0).mean(1) for a, g in zip(weights, gradients, strict=True)]
                found["chefer"] = class_token_row(positive)
            # (A + I) / 2 per block; the powers of two scale all tokens alike.
            found["rollout"] = class_token_row(means) / 2 ** len(means)
            found["attention"] = means[-1][:, 0]
            return {method: found[method][:, self._tokens.prefix :].float() for method in self._methods}


def class_token_row(matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the [CLS] row (n, T) of (I + M_B) ... (I + M_1).

    Args:
        matrices: M_1 to M_B, (n, T, T) each.
    """
    first = matrices[0]
    row = first.new_zeros(len(first), 1, first.shape[-1])
    row[:, :, 0] = 1
    for matrix in reversed(matrices):
        row = row + row @ matrix
    return row[:, 0]
