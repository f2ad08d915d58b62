"""One output, read as two classes; see docs/method.md, one output.

A binary classifier says z, the logit of one class against the other. Read as two classes its logits are (-z/2, z/2),
whose softmax is the sigmoid of z; a row of zeros for the other class would explain nothing about that class.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

BINARY = "binary"
"""What one output is: a binary classifier's, or a `SCORE` (a regression's), which has no classes."""
NEGATIVE, POSITIVE = "negative", "positive"
"""What its two classes are called where they have no names."""
HEADS = ("head", "head_dist")
"""Distilled models have two."""

log = logging.getLogger(__name__)


def two_rows(values: torch.Tensor) -> torch.Tensor:
    """Return (2, ...) for the weight or bias (1, ...) of a head with one output."""
    return torch.cat([-values, values]) / 2


def linear_head(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Return a linear layer that holds copies of a weight (C, D) and bias (C), on their device; draws no numbers."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


def as_one_output(model: Any) -> None:
    """Give a model that `as_two_classes` made its one output back, in place."""
    for name in HEADS:
        head = getattr(model, name, None)
        if head is not None:
            rows = (None if values is None else values[1:] - values[:1] for values in (head.weight, head.bias))
            setattr(model, name, linear_head(*rows))  # type: ignore[arg-type]


def two_class_head(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Return the head of two classes for the weight (1, D) and bias (1) of one with one output."""
    return linear_head(two_rows(weight), None if bias is None else two_rows(bias))


def with_two_outputs(head: nn.Module) -> nn.Sequential:
    """Return a head with one output z, which need not be linear, with -z/2 and z/2 in its place."""
    like = next(head.parameters(), torch.zeros(1))
    return nn.Sequential(head, two_class_head(like.new_ones(1, 1), None))


def as_two_classes(model: Any) -> Any:
    """Give a model with one output and linear heads those of two classes, in place; others, and scores, stay."""
    if model.head.out_features == 1 and not getattr(model, "puts_out_score", False):
        log.info("the model's one output is read as two classes, the negative one first")
        for name in HEADS:
            head = getattr(model, name, None)
            if head is not None:
                setattr(model, name, two_class_head(head.weight, head.bias))
        model.num_classes = 2
    return model


def with_two_rows(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a checkpoint's tensors, those of heads with one output as two rows where two are expected."""
    found = dict(given)
    for name in (f"{head}.{part}" for head in HEADS for part in ("weight", "bias")):
        if name in given and name in expected and (len(given[name]), len(expected[name])) == (1, 2):
            found[name] = two_rows(given[name])
    return found
