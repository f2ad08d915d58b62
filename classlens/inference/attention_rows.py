"""What one token attends to, without the T x T weights of all tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from classlens.errors import InputError
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.probe import attention_behaviour, image_parameter


def attention_of(model: Any, inputs: torch.Tensor, block: int | None, token: int) -> torch.Tensor:
    """Return the attention weights of a token, after the softmax: float32 (N, H, T) on the CPU, each row sums to one.

    Args:
        model: a supported timm model; it runs without gradients, in evaluation mode.
        inputs: (N, channels, H, W), normalised.
        block: from 0; None for all blocks of one forward pass, (B, N, H, T).
        token: among all T tokens, prefix tokens first.

    Raises:
        InputError: attention cannot be reached, see `probe.attention_behaviour`; or blocks that are asked for together
            differ in the number of heads.
    """
    heads = attention_behaviour(model).heads
    if block is None and len(set(heads)) > 1:
        raise InputError(
            f"blocks have {', '.join(map(str, heads))} heads, not all the same; ask for one block at a time"
        )
    rows: list[torch.Tensor] = []

    def attend(index: int, attention: Attention) -> torch.Tensor:
        if block in (None, index):
            rows.append(row_of(attention, token).float().cpu())
        return attention.output()

    with torch.no_grad(), frozen_eval_mode(model), patch_attention(model, attend):
        model(inputs.to(image_parameter(model)))
    return rows[0] if block is not None else torch.stack(rows)


def row_of(attention: Attention, token: int) -> torch.Tensor:
    """Return the weights (n, H, T) of one token at an attention."""
    if attention.nested:  # contexts around know all tokens only
        return attention.weights()[:, :, token]
    one, bias = slice(token, token + 1), attention.bias
    if bias is not None:
        bias = bias.expand(*attention.query.shape[:-1], attention.key.shape[-2])[:, :, one]
    return replace(attention, query=attention.query[:, :, one], bias=bias).weights()[:, :, 0]
