"""Tensors that a checkpoint may hold beside a model's without changing what the model computes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch


def _always(_tensor: torch.Tensor, _model: Any, _with_head: bool) -> bool:
    return True


def _zero(tensor: torch.Tensor, _model: Any, _with_head: bool) -> bool:
    return not bool(tensor.any())


def _single(tensor: torch.Tensor, _model: Any, _with_head: bool) -> bool:
    return tensor.numel() == 1


def _rotary(_tensor: torch.Tensor, model: Any, _with_head: bool) -> bool:
    """The model rotates, too, by a table of its own; without one the tensor's model is another one."""
    return any(name.rpartition(".")[2] == "rope" for name, _ in model.named_modules())


def _headless(_tensor: torch.Tensor, _model: Any, with_head: bool) -> bool:
    """Between blocks and head these would change the logits; where the user brings the head, they have no part."""
    return not with_head


HARMLESS: tuple[tuple[str, str, Callable[[torch.Tensor, Any, bool], bool]], ...] = (
    (r"(.*\.)?mask_token", "stands for masked patches, in pretraining alone", _always),
    (r"(.*\.)?relative_position_index", "an index that the model computes itself", _always),
    (r"(.*\.)?attn\.(q|k|v)_bias", "a bias of zeros", _zero),
    (r"(.*\.)?(rope(_embed)?(\..+)?|freqs(_\w+)?|periods|inv_freq)", "angles that the model computes itself", _rotary),
    (r"(decoder|decoder_\w+)(\..+)?", "the decoder of pretraining", _always),
    (r"(dino_head|ibot_head|lm_head|mim_head|aux_head|head_aux)\..+", "a head for another task", _always),
    (r"transformerheads\..+", "token refinement beside the blocks (arXiv 2106.04169)", _always),
    (r"(proj|projection|prediction|pred)_head\..+|(projector|predictor)s?\..+", "a head of pretraining", _headless),
    (r"(head|fc|classifier|linear|pre_logits|last_layer)(\..+)?", "the key `head` takes its place", _headless),
    (r"(.*\.)?(n_averaged|num_updates|num_batches_tracked|step|global_step|epoch|iteration)", "a counter", _single),
    (r"(.*\.)?total_(ops|params)", "a counter", _single),
    (r"(optimizer|optimiser|scheduler|scaler|loss_scaler)\..+", "state of training", _always),
)  # fmt: skip
"""Pattern of the whole name, the reason, and what must hold beside it."""
DROPPED_BY_TIMM = re.compile(r"(.*\.)?(pre_logits\..+|rope(\..+)?)")
"""What timm's rules leave out without a word, though a model with it is another one."""


def sorted_out(
    extra: Mapping[str, torch.Tensor], model: torch.nn.Module, *, with_head: bool
) -> tuple[dict[str, str], list[str]]:
    """Return why tensors that a model does not have may be left out, by name, and the names of those that may not.

    With `with_head` the head comes from the checkpoint.
    """
    left_out: dict[str, str] = {}
    for name, tensor in extra.items():
        for pattern, reason, holds in HARMLESS:
            if re.fullmatch(pattern, name) and holds(tensor, model, with_head):
                left_out[name] = reason
                break
    return left_out, [name for name in extra if name not in left_out]
