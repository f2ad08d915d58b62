"""What a model does, seen in a forward pass of a made-up image, in place of what its attributes say.

Models are changed after they were made: heads, norms, poolings, class counts, functions. What the rest of the project
relies on is therefore tried, and refused by name where it does not hold. A model that was tried is not tried again
before it is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

import torch

from classlens.errors import InputError
from classlens.inference.activations import capture_activations
from classlens.inference.attention import Attention, patch_attention
from classlens.inference.guard import Spot, watch
from classlens.inference.modes import at_least_float32, frozen_eval_mode
from classlens.inference.projection import Projection
from classlens.models.device import autocast
from classlens.models.inputs import channels_of
from classlens.models.pooling import adds_positions

TOLERANCE = 1e-4
"""Difference from what should be equal, as a share of the largest number, that rounding in float32 stays far below."""
STEPS = 16
"""Steps of a shorter type that the same may differ by."""


@dataclass(frozen=True)
class Behaviour:
    """What one image shows of a model.

    Attributes:
        channels: of its images.
        dtype: that it takes images in.
        kept_dtype: of its tokens.
        classes: C, the length of its output.
        tokens, width: T and D.
    """

    channels: int
    dtype: torch.dtype
    kept_dtype: torch.dtype
    classes: int
    tokens: int
    width: int


@dataclass(frozen=True)
class AttentionBehaviour:
    """What one image shows of a model's attention: H and d of each block."""

    heads: tuple[int, ...]
    head_width: tuple[int, ...]


Answer = TypeVar("Answer")
_known: WeakKeyDictionary[Any, dict[Callable[[Any], Any], tuple[Hashable, Any]]] = WeakKeyDictionary()


def once(model: Any, ask: Callable[[Any], Answer], *, hooks: bool = False) -> Answer:
    """Return what a function of a model returns, which is called again only after the model was changed.

    Args:
        model: runs in evaluation mode and in full precision meanwhile, as no mode of the caller tells.
        ask: a function of a module, whose answer does not refer to the model and does not depend on its weights.
        hooks: a hook that came or went is a change, too.
    """
    answers, mark = _known.setdefault(model, {}), fingerprint(model, hooks=hooks)
    if ask not in answers or answers[ask][0] != mark:
        with _undisturbed(model):
            answers[ask] = mark, ask(model)
    answer: Answer = answers[ask][1]
    return answer


def fingerprint(model: Any, *, hooks: bool) -> Hashable:
    """Return what changes when a model is changed, its numbers apart: modules, functions, shapes, attributes, hooks.

    Hooks are those of all modules, or without `hooks` of those alone that are passed over where attention is caught.
    """
    modules = list(model.modules())
    functions = [(id(module), id(module.__dict__.get("forward", type(module).forward))) for module in modules]
    hooked = modules if hooks else [module for module in modules if isinstance(module, torch.nn.Dropout)]
    own = [
        id(hook) for module in hooked for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    tensors = [(one.shape, one.dtype, one.device) for one in (*model.parameters(), *model.buffers())]
    simple = (bool, int, float, str, type(None))
    attributes = [(name, one if isinstance(one, simple) else id(one)) for name, one in model.__dict__.items()]
    return (*functions,), (*own,), (*tensors,), tuple(entry for entry in attributes if entry[0] != "training")


def state(model: Any) -> Hashable:
    """Return what changes when a model or its numbers are changed, see `fingerprint`.

    Of numbers that is the sum of each tensor, since what is written through `.data` leaves no other trace.
    """
    tensors = (*model.parameters(), *model.buffers())
    with torch.no_grad():
        sums = [one.sum(dtype=torch.float32 if one.is_floating_point() else None).cpu() for one in tensors]
    return fingerprint(model, hooks=True), tuple(
        (one.data_ptr(), 0 if one.is_inference() else one._version, float(total))
        for one, total in zip(tensors, sums, strict=True)
    )


def readout(model: Any, residual: torch.Tensor) -> torch.Tensor:
    """Return the model's output (n, C) for the last block's output (n, T, D)."""
    norm = getattr(model, "norm", None)
    output: torch.Tensor = model.forward_head(residual if norm is None else norm(residual))
    return output


def behaviour(model: Any) -> Behaviour:
    """Return what a supported model does, and check that what is read of its tokens is what it reads itself.

    Raises:
        InputError: it does something else than a vision transformer with one residual stream; the message says what.
    """
    return once(model, _observed)


def attention_behaviour(model: Any) -> AttentionBehaviour:
    """Return what a supported model's attention does, and check that it is reached, so that it can be changed.

    Raises:
        InputError: the attention of a block is not computed by torch's function for it, once, or is not what enters the
            branch's projection, or the model computes something else where it is.
    """
    return once(model, _attended)


def made_up(model: Any, channels: int, count: int = 1) -> torch.Tensor:
    """Return images (count, channels, H, W) of noise, all the same."""
    first = image_parameter(model)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, channels, *model.patch_embed.img_size, generator=generator)
    images: torch.Tensor = noise.to(first).expand(count, -1, -1, -1)
    return images


def image_parameter(model: Any) -> torch.Tensor:
    """Return the parameter whose type images are to have, and whose device: of those of the patch embedding."""
    parameters = (*model.patch_embed.parameters(), *model.parameters())
    first: torch.Tensor = next(one for one in parameters if one.is_floating_point())
    return first


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Tell whether two tensors are the same up to rounding; what is not finite is for others to complain about."""
    if found.shape != expected.shape:
        return False
    step = max(torch.finfo(one.dtype).eps for one in (found, expected))
    tolerance = max(TOLERANCE, STEPS * step) * float(at_least_float32(expected).abs().max())
    gap = float((at_least_float32(found) - at_least_float32(expected)).abs().max())
    return gap <= tolerance or not gap < float("inf")


@contextmanager
def _undisturbed(model: Any) -> Iterator[None]:
    """Compute as the model itself would, whatever the caller's mode."""
    device = image_parameter(model).device
    with ExitStack() as stack:
        stack.enter_context(frozen_eval_mode(model))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(autocast(device, "float32"))
        yield


def _refuse(what: str, way_out: str) -> NoReturn:
    raise InputError(f"this model cannot be looked into: {what}; {way_out}")


def _observed(model: Any) -> Behaviour:
    """Run a made-up image, in up to three ways where the number of channels is not plain to see."""
    faults = []
    for channels in dict.fromkeys([channels_of(model), 3, 1]):
        try:
            return _seen(model, channels)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
            faults.append(f"{type(error).__name__}: {error}".splitlines()[0])
    _refuse(f"a forward pass of one image ends in {faults[0]}", "mend that, or give the model as timm builds it")


def _seen(model: Any, channels: int) -> Behaviour:
    images, sites, inputs, raw = made_up(model, channels), {}, [], []

    def site(block: int, name: str, tokens: torch.Tensor) -> None:
        sites[block, name] = tokens

    # What a block itself makes of what it gets: users' hooks may change it before or afterwards.
    with ExitStack() as stack:
        for block in model.blocks:
            stack.callback(block.register_forward_hook(lambda _m, _i, y: raw.append(y), prepend=True).remove)
        stack.enter_context(watch(model, Spot("", lambda block: block, lambda _b, x: inputs.append(x), before=True)))
        stack.enter_context(capture_activations(model, site))
        output = model(images)
    tokens = model.num_prefix_tokens + model.patch_embed.num_patches
    shape = torch.Size((1, tokens, model.embed_dim))
    for (block, name), seen in sites.items():
        if not isinstance(seen, torch.Tensor) or seen.shape != shape:
            _refuse(
                f"{name} of block {block} is {_said(seen)}, where tokens {tuple(shape)} go on through all blocks",
                "give the model as timm builds it",
            )
    for block, (before, after) in enumerate(zip(inputs, raw, strict=True)):
        if not close(after, before + sites[block, "attn"] + sites[block, "mlp"]):
            _refuse(
                f"block {block} ({type(model.blocks[block]).__name__}) does not add what its drop_path1 and drop_path2 "
                f"put out to its input",
                "give it timm's own forward",
            )
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        pooling = getattr(model, "global_pool", None)
        _refuse(
            f"its output for one image is {_said(output)} and not (1, classes)"
            + (" since its tokens are not pooled (global_pool='')" if pooling == "" else ""),
            "set model.global_pool to 'token' or 'avg'" if pooling == "" else "let it return logits",
        )
    _check_readout(model, sites[len(model.blocks) - 1, "residual"], output)
    kept = sites[0, "residual"].dtype
    for seen in sites.values():
        kept = torch.promote_types(kept, seen.dtype)
    return Behaviour(channels, images.dtype, kept, output.shape[1], *shape[1:])


def _said(values: Any) -> str:
    return str(tuple(values.shape)) if isinstance(values, torch.Tensor) else f"a {type(values).__name__}"


def _check_readout(model: Any, residual: torch.Tensor, output: torch.Tensor) -> None:
    """Check that the output is what norms and head make of the last residual, and that they read tokens one by one."""
    if not close(readout(model, residual), output):
        _refuse(
            "its output is not what its norm and forward_head make of the last block's output",
            "if forward, forward_features or forward_head was replaced, undo that",
        )
    # A sequence that holds one token everywhere: whatever is pooled reads this token.
    alone = residual[:, -1:].expand_as(residual)
    project = Projection(model)
    if not adds_positions(model) and not close(_read_first(project, alone), readout(model, alone)):
        _refuse(
            "its head reads of a token something else than head(fc_norm(norm(token))), with its pool on that one token",
            "if head, norm, fc_norm, pool or forward_head was replaced, take timm's",
        )
    if model.global_pool == "token" and not close(_read_first(project, residual), output):
        _refuse(
            "its output is not read off its first token, though model.global_pool is 'token'",
            "if pool or forward_head was replaced, undo that, or call its pooling by another name: model.global_pool = "
            "'own'",
        )


def _read_first(project: Projection, residual: torch.Tensor) -> torch.Tensor:
    """Return what a model that pools no tokens puts out (n, C); distilled, it takes the mean of two heads."""
    logits = project(residual[:, :2])
    return logits[:, 0] if project.distilled is None else logits.mean(1)


def _attended(model: Any) -> AttentionBehaviour:
    """Run the made-up image twice in a batch: with attention as it is, and with heads that were changed."""
    images = made_up(model, behaviour(model).channels, 2)
    before: list[torch.Tensor] = []
    with watch(model, Spot("attn", lambda block: block.attn, lambda _b, x: before.append(x))):
        plain = model(images[:1])
    heads: list[torch.Tensor] = []
    added: list[torch.Tensor] = []
    projected: list[torch.Tensor] = []

    def attend(_block: int, attention: Attention) -> torch.Tensor:
        output = attention.output().clone()
        # Each head is changed in another way, so that none can stand for another one.
        output[1] *= torch.linspace(-1, 0.5, output.shape[1], device=output.device).to(output)[:, None, None]
        heads.append(output)
        return output

    spots = [
        Spot("attn.proj", lambda block: block.attn.proj, lambda _b, x: projected.append(x), before=True),
        Spot("attn", lambda block: block.attn, lambda _b, x: added.append(x)),
    ]
    with patch_attention(model, attend), watch(model, *spots):
        output = model(images)
    if not close(output[:1], plain) or not close(added[0][:1], before[0]):
        _refuse(
            "it computes something else where its attention is computed by torch's scaled_dot_product_attention",
            "if a module in its attention was replaced (attn_drop, say), take timm's",
        )
    for block, (of_heads, seen) in enumerate(zip(heads, projected, strict=True)):
        joined, attention = of_heads.transpose(1, 2).flatten(2), model.blocks[block].attn
        if getattr(attention, "gate", None) is not None:
            continue
        if getattr(attention, "norm", None) is not None:
            joined = attention.norm(joined)
        if joined.shape != seen.shape or not close(seen, joined):
            _refuse(
                f"what attn.proj of block {block} gets is not what the heads put out",
                "if its attention was replaced, take timm's",
            )
    return AttentionBehaviour(tuple(one.shape[1] for one in heads), tuple(one.shape[-1] for one in heads))
