"""What is kept of a token: rank and logit of the correct class, the classes on top, and its strongest keys."""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType

import numpy as np
import torch

from classlens.errors import InputError
from classlens.inference.projection import Projection
from classlens.models.linear import Head
from classlens.terms import TOP

FEW_THREADS = 3
"""With at most so many, numpy's sort selects faster with one thread than torch with all."""
WIDE = 128
"""Among more columns than these, selecting is faster after some are taken together."""


def rank_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Count the classes with a larger logit (..., C) than that of interest (..., 1), strictly: int32 (...).

    Counting takes one pass; sorting all classes to look up one of them would take many.
    """
    # Ones and zeros of the logits' own type are added up in a quarter of the time that booleans take.
    above = torch.gt(logits, target, out=torch.empty_like(logits))
    return above.sum(-1, dtype=torch.float32).int()


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
    target = logits.gather(-1, classes[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
    top = _places_of_largest(logits)
    values = logits.gather(-1, top)
    largest = values[..., 0]
    smallest = torch.minimum(values[..., -1], target)
    # To decide here would be to wait, on any device but the CPU.
    if logits.shape[-1] > TOP and (logits.device.type != "cpu" or bool((largest == smallest).all())):
        smallest = logits.amin(-1)
    return {
        "rank": rank_of(logits, target[..., None]),
        "logit": target,
        "top5": top,
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
    return _places_of_largest(coefficients)


def _places_of_largest(values: torch.Tensor) -> torch.Tensor:
    """Return the places (..., min(5, M)) of the largest of (..., M), largest first: those of torch.topk."""
    top, width = min(TOP, values.shape[-1]), values.shape[-1]
    if values.device.type != "cpu" or values.dtype != torch.float32 or torch.get_num_threads() > FEW_THREADS:
        return values.topk(top, dim=-1).indices
    rows = values.detach().reshape(-1, width)
    places, sure = _sorted_out(rows, top)
    if not sure.all():
        places[:, ~sure] = rows[~sure].topk(top, dim=-1).indices.T
    return places.T.view(*values.shape[:-1], top)


def _sorted_out(values: torch.Tensor, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places (top, R) of the largest of values (R, M), largest first, and in which rows (R) they are sure.

    They are not where equal values leave a choice, or some are NaN: the choice is then torch.topk's.
    """
    rows, width = values.shape
    if width > WIDE:
        # Fold the columns: the largest values lie where the maxima of those taken together are largest.
        # As many maxima as columns that are then left, but no few: short runs of columns are slow.
        fold = min(math.isqrt(width // top), width // (WIDE // 2))
        folds = width // fold
        best, sure = _sorted_out(values[:, : fold * folds].view(rows, fold, folds).amax(1), top)
        columns = (best + folds * torch.arange(fold)[:, None, None]).view(-1, rows)
        if fold * folds < width:
            columns = torch.cat([columns, torch.arange(fold * folds, width)[:, None].expand(-1, rows)])
        places, also = _sorted_out(values.gather(1, columns.T), top)
        return columns.gather(0, places), sure & also
    # As float64 a number has room for its place, in bits that are zero; so a sort of numbers sorts places.
    wide, mask = values.double(), 2 ** (width - 1).bit_length() - 1
    wide.view(torch.int64).bitwise_or_(torch.arange(width))
    keys = wide.numpy()
    keys.sort(axis=1)
    strongest = keys[:, : -top - 2 : -1].T.copy().view(np.int64)
    ordered = (strongest & ~mask).view(np.float64)
    # What a sort leaves of NaN may have lost its place.
    known = np.minimum(strongest[:top] & mask, width - 1)
    return torch.from_numpy(known), torch.from_numpy((ordered[:-1] > ordered[1:]).all(0))


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
