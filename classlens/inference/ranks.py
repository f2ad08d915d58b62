"""What is kept of a token: rank and logit of the correct class, the classes on top, and its strongest keys."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import numpy as np
import torch

from classlens.errors import InputError
from classlens.inference.projection import Projection
from classlens.models.linear import Head
from classlens.terms import TOP

FEW_THREADS = 3
"""With at most so many, numpy selects faster with one thread than torch with all."""
FOLD, WIDE = 4, 128
"""How many columns are taken together before a selection, and among how many columns that is faster."""


def rank_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Count the classes with a larger logit (..., C) than that of interest (..., 1), strictly: int32 (...).

    Counting takes one pass; sorting all classes to look up one of them would take many.
    """
    return (logits > target).sum(-1, dtype=torch.int32)


def summarise_tokens(project: Projection, tokens: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Reduce tokens (n, T, D) to what is stored of their logits, see `summarise`; never waits for the device.

    On CUDA a kernel selects, and logits are float32 whatever autocast does: ranks may differ from those of `summarise`
    where logits are equal but for rounding.
    """
    kernels, last = _kernels(tokens.device), project.head.last
    if kernels is None or last is None:
        return summarise(project(tokens), classes)
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else last.weight.dtype
    norm = project.layer_norm
    if norm is None or dtype == torch.float32:
        x = project.seen(tokens)
    else:
        # As autocast has it, in float32 and rounded for the head's product: in one pass instead of three.
        x = kernels.layer_norm_tiled(tokens, norm.weight, norm.bias, norm.eps, dtype)

    def by(head: Head, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if head.last is None:
            return summarise(head(x).float(), classes)
        features, weight = head.features(x).to(dtype), head.last.weight.to(dtype)
        found: dict[str, torch.Tensor] = kernels.summarise_tiled(features, weight, head.last.bias, classes)
        return found

    summary = by(project.head, x)
    if project.distilled is not None:
        for name, values in by(project.distilled, x[:, 1:2]).items():
            summary[name][:, 1:2] = values
    return summary


def summarise(logits: torch.Tensor, classes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Reduce logits to what is stored of them.

    Args:
        logits: (n, T, C).
        classes: (n), the correct class of each image.

    Returns:
        rank (n, T) int32, logit (n, T) float32, top5 (n, T, min(5, C)) integers with the largest logit first; and what
        `faults` takes: largest (n, T), the largest logit itself, and smallest (n, T), the smallest one, or the smallest
        of those that are kept where that is enough to tell that not all are equal.
    """
    target = logits[torch.arange(len(logits), device=logits.device), :, classes]
    top = logits.topk(min(TOP, logits.shape[-1]), dim=-1)
    largest = top.values[..., 0]
    smallest = torch.minimum(top.values[..., -1], target)
    # To decide here would be to wait, on any device but the CPU.
    if logits.shape[-1] > TOP and (logits.device.type != "cpu" or bool((largest == smallest).all())):
        smallest = logits.amin(-1)
    return {
        "rank": rank_of(logits, target[..., None]),
        "logit": target,
        "top5": top.indices,
        "largest": largest,
        "smallest": smallest,
    }


def faults(largest: torch.Tensor, smallest: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Tell what is wrong with the logits of a site, without waiting for the device.

    NaN counts as largest, so the two see NaN and infinity anywhere. Where `summarise` gives the smallest of those that
    are kept, minus infinity is seen among these only: further down it changes neither them nor the rank.

    Args:
        largest, smallest: (..., n, T), of each token's logits; see `summarise`.
        num_classes: C; a single logit is not flat.

    Returns:
        bool (..., 2): some logit is not finite; at every token all logits are equal.
    """
    finite = torch.isfinite(largest).flatten(-2).all(-1) & torch.isfinite(smallest).flatten(-2).all(-1)
    flat = (largest == smallest).flatten(-2).all(-1) & (num_classes > 1)
    return torch.stack([~finite, flat], dim=-1)


def refuse(not_finite: bool, flat: bool, where: str = "") -> None:
    """Refuse logits that say nothing, see `faults`; `where` is for the message, e.g. "attn of block 3".

    Raises:
        InputError: something is wrong.
    """
    start = f"{where}: " if where else ""
    if not_finite:
        raise InputError(f"{start}logits are not finite; check the weights, or set extraction.precision to float32")
    if flat:
        raise InputError(f"{start}all logits of every token are equal; the model's head is zero or was never trained")


def require_sound(largest: torch.Tensor, smallest: torch.Tensor, num_classes: int, where: str = "") -> None:
    """Refuse a site's logits that say nothing; see `faults`.

    Raises:
        InputError: logits are not finite or all equal.
    """
    not_finite, flat = faults(largest, smallest, num_classes).tolist()
    refuse(not_finite, flat, where)


def strongest_keys(coefficients: torch.Tensor) -> torch.Tensor:
    """Return the indices (n, T, min(5, M)) of the largest key coefficients (n, T, M), largest first."""
    kernels = _kernels(coefficients.device)
    if kernels is not None:
        found: torch.Tensor = kernels.strongest_tiled(coefficients)
        return found
    top, width = min(TOP, coefficients.shape[-1]), coefficients.shape[-1]
    plain = coefficients.device.type == "cpu" and coefficients.dtype == torch.float32
    # Among 64 times as many columns torch selects with a heap, and is the faster one.
    if plain and top < width < 64 * top and torch.get_num_threads() <= FEW_THREADS:
        places = _strongest_untied(coefficients.reshape(-1, width), top)
        if places is not None:
            return places.view(*coefficients.shape[:-1], top)
    return coefficients.topk(top, dim=-1).indices


def _strongest_untied(values: torch.Tensor, top: int) -> torch.Tensor | None:
    """Return the places (R, top) of the largest of values (R, M), largest first: those of torch.topk, in less time.

    None where equal values leave a choice, or some are NaN: the choice is then torch.topk's.
    """
    best, columns = None, values.shape[1] // FOLD
    if values.shape[1] >= WIDE and values.shape[1] % FOLD == 0:
        # Fold the columns: the largest values lie where the maxima of FOLD columns are largest.
        folded = values.view(-1, FOLD, columns)
        best = _unordered(folded.amax(1), top)
        if best is None:
            return None
        values = folded.gather(2, best[:, None].expand(-1, FOLD, top)).flatten(1)
    places = _unordered(values, top)
    if places is None:
        return None
    ordered, order = values.gather(1, places).sort(1, descending=True)
    if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        return None
    places = places.gather(1, order)
    return places if best is None else best.gather(1, places % top) + places // top * columns


def _unordered(values: torch.Tensor, top: int) -> torch.Tensor | None:
    """Return the places (R, top) of the largest of values (R, M) in any order; None where that is not one set a row."""
    rows = values.numpy()
    count, width = rows.shape
    least = np.partition(rows, width - top, axis=1)[:, width - top]
    places = np.flatnonzero(rows >= least[:, None])
    if len(places) != top * count:
        return None
    places = places.reshape(count, top) - np.arange(count)[:, None] * width
    return torch.from_numpy(places) if places.min() >= 0 and places.max() < width else None


def rank_tokens(project: Projection, residual: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the rank (n, T) int32 of every token's class of interest (n), 0 being on top.

    Raises:
        InputError: logits of the residual (n, T, D) are not finite or all equal.
    """
    logits = project(residual)
    require_sound(logits.amax(-1), logits.amin(-1), logits.shape[-1])
    return rank_of(logits, logits.gather(-1, classes[:, None, None].expand(-1, logits.shape[1], 1)))


@cache
def _kernels(device: torch.device) -> ModuleType | None:
    """Return the kernels where they run: on NVIDIA GPUs from Ampere on, and with triton installed."""
    if device.type != "cuda" or torch.version.hip or torch.cuda.get_device_capability(device) < (8, 0):
        return None
    try:
        from classlens.inference import kernels
    except ImportError:
        return None
    return kernels
