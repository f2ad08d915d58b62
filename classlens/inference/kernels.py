"""Kernels for NVIDIA GPUs: what is kept of a token's logits or key coefficients.

They go through the columns in tiles and keep the five largest so far, sorted. The product with the head is torch's: a
kernel that multiplied tile by tile itself, so that no logits were written, took 1.4 times as long on an H200 in
bfloat16, 1.7 times in TF32 and 3.7 times in float32. Logits are those of a part of one site's tokens, and only until
they are reduced. Needs triton, which torch brings for CUDA.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from classlens.batching import batches
from classlens.terms import TOP

assert TOP == 5  # the kernels spell the five places out

CLASSES, COLUMNS = 128, 256
"""Columns of a tile of logits, and of one of key coefficients. A tile is one token's, which waits for no other."""
LOGITS = 2**26
"""How many logits there are at once, at most: 256 MiB."""


def summarise_tiled(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, classes: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Reduce x W^T + bias to what is stored of it; products are summed in float32 and not rounded further.

    float32 inputs are multiplied in TF32 where `torch.backends.cuda.matmul.allow_tf32` says so.

    Args:
        x: (n, T, D), float32, bfloat16 or float16.
        weight: (C, D), of the type of x.
        bias: (C).
        classes: (n), the correct class of each image, each below C.

    Returns:
        as `ranks.summarise`; of equal logits the class with the lower index comes first.
    """
    images, tokens, _ = x.shape
    count, rows = len(weight), images * tokens
    rank, top = _new(x, rows, dtype=torch.int32), _new(x, rows, TOP, dtype=torch.int32)
    logit, largest, smallest = (_new(x, rows, dtype=torch.float32) for _ in range(3))
    flat = x.reshape(rows, -1)
    with _on_device_of(x), torch.autocast(x.device.type, enabled=False):
        for part in batches(rows, max(1, LOGITS // count)):
            logits = _product(flat[part], weight)
            _summarise[(len(logits),)](
                logits,
                logits if bias is None else bias.contiguous(),
                classes,
                rank,
                logit,
                top,
                largest,
                smallest,
                part.start,
                tokens,
                count,
                BIASED=bias is not None,
                CLASSES=CLASSES,
                num_warps=1,
            )
    found = {"rank": rank, "logit": logit, "largest": largest, "smallest": smallest}
    return {
        **{name: values.view(images, tokens) for name, values in found.items()},
        "top5": top.view(images, tokens, TOP)[..., : min(TOP, count)],
    }


def _product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return x W^T, float32."""
    if x.dtype == torch.float32:
        return x @ weight.T
    if x.is_cuda:
        return torch.mm(x, weight.T, out_dtype=torch.float32)
    return x.float() @ weight.float().T


def strongest_tiled(values: torch.Tensor) -> torch.Tensor:
    """Return the places (..., min(5, M)) int32 of the largest of (..., M), largest first, of equals the earlier one."""
    count = values.shape[-1]
    flat = values.reshape(-1, count).contiguous()
    top = _new(values, len(flat), TOP, dtype=torch.int32)
    with _on_device_of(values):
        _strongest[(len(flat),)](flat, top, count, COLUMNS=COLUMNS, num_warps=1)
    return top.view(*values.shape[:-1], TOP)[..., : min(TOP, count)]


def layer_norm_tiled(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, dtype: torch.dtype
) -> torch.Tensor:
    """Return LN(x) of x (..., D), computed in float32 and rounded once, to `dtype`.

    Args:
        x: of any floating-point type.
        weight, bias: (D), float32; None: one and zero.
        eps: is added to the variance.
        dtype: of the result.
    """
    flat = x.reshape(-1, x.shape[-1]).contiguous()
    out = torch.empty(flat.shape, dtype=dtype, device=x.device)
    with _on_device_of(x):
        _layer_norm[(len(flat),)](
            flat,
            flat if weight is None else weight,
            flat if bias is None else bias,
            out,
            flat.shape[1],
            eps,
            SCALED=weight is not None,
            BIASED=bias is not None,
            WIDTH=triton.next_power_of_2(flat.shape[1]),
            num_warps=2,
        )
    return out.view(x.shape)


def _new(like: torch.Tensor, *shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=like.device)


def _on_device_of(x: torch.Tensor) -> torch.cuda.device_of:
    """Return a context in which kernels run where x lies; it does nothing on the CPU, where triton interprets them."""
    return torch.cuda.device_of(x)


@triton.jit
def _swap(value, index, new, new_index):
    """Return the larger one with its index, then the smaller one; of equals the lower index comes first."""
    above = (new > value) | ((new == value) & (new_index < index))
    return (
        tl.where(above, new, value),
        tl.where(above, new_index, index),
        tl.where(above, value, new),
        tl.where(above, index, new_index),
    )


@triton.jit
def _merge(
    tile,
    start,
    v0,
    v1,
    v2,
    v3,
    v4,
    i0,
    i1,
    i2,
    i3,
    i4,
    WIDTH: tl.constexpr,
):
    """Return each row's five largest values so far and their indices after one more tile, which begins at `start`."""
    lane = tl.arange(0, WIDTH)
    best = tl.max(tile, 1)
    # The further one is, the fewer rows find anything among their five; as soon as none does, the tile is done.
    while tl.max((best > v4).to(tl.int32), 0) > 0:
        place = tl.min(tl.where(tile == best[:, None], lane[None, :], WIDTH), 1)
        v0, i0, value, index = _swap(v0, i0, best, start + place)
        v1, i1, value, index = _swap(v1, i1, value, index)
        v2, i2, value, index = _swap(v2, i2, value, index)
        v3, i3, value, index = _swap(v3, i3, value, index)
        v4, i4, value, index = _swap(v4, i4, value, index)
        tile = tl.where(lane[None, :] == place[:, None], float("-inf"), tile)
        best = tl.max(tile, 1)
    return v0, v1, v2, v3, v4, i0, i1, i2, i3, i4


@triton.jit
def _summarise(
    logits,
    bias,
    classes,
    rank,
    logit,
    top,
    largest,
    smallest,
    first,
    tokens,
    count,
    BIASED: tl.constexpr,
    CLASSES: tl.constexpr,
):
    # Everything has the shape (1,) or (1, CLASSES): a token's.
    place = tl.program_id(0) + tl.arange(0, 1)
    row, lane = first + place, tl.arange(0, CLASSES)
    of_row = logits + place.to(tl.int64) * count
    mine = tl.load(classes + row // tokens)
    score = tl.load(of_row + mine)
    if BIASED:
        score += tl.load(bias + mine).to(tl.float32)

    above = tl.zeros((1,), dtype=tl.int32)
    faulty = tl.zeros((1,), dtype=tl.int32)
    least = tl.full((1,), float("inf"), dtype=tl.float32)
    v0 = tl.full((1,), float("-inf"), dtype=tl.float32)
    v1, v2, v3, v4 = v0, v0, v0, v0
    i0 = tl.zeros((1,), dtype=tl.int32)
    i1, i2, i3, i4 = i0, i0, i0, i0
    for start in range(0, count, CLASSES):
        these = start + lane
        known = (these < count)[None, :]
        tile = tl.load(of_row[:, None] + these[None, :], mask=known, other=float("-inf"))
        if BIASED:
            tile += tl.load(bias + these, mask=these < count, other=0.0).to(tl.float32)[None, :]
        # Maxima and minima pass over NaN.
        faulty += tl.sum((tile != tile).to(tl.int32), 1)
        least = tl.minimum(least, tl.min(tl.where(known, tile, float("inf")), 1))
        above += tl.sum((tile > score[:, None]).to(tl.int32), 1)
        v0, v1, v2, v3, v4, i0, i1, i2, i3, i4 = _merge(tile, start, v0, v1, v2, v3, v4, i0, i1, i2, i3, i4, CLASSES)
    tl.store(rank + row, above)
    tl.store(logit + row, score)
    tl.store(largest + row, tl.where(faulty > 0, float("nan"), v0))
    tl.store(smallest + row, least)
    _store(top, row, i0, i1, i2, i3, i4)


@triton.jit
def _strongest(values, top, count, COLUMNS: tl.constexpr):
    row, lane = tl.program_id(0) + tl.arange(0, 1), tl.arange(0, COLUMNS)
    of_row = values + row.to(tl.int64) * count
    v0 = tl.full((1,), float("-inf"), dtype=tl.float32)
    v1, v2, v3, v4 = v0, v0, v0, v0
    i0 = tl.zeros((1,), dtype=tl.int32)
    i1, i2, i3, i4 = i0, i0, i0, i0
    for start in range(0, count, COLUMNS):
        these = (start + lane)[None, :]
        tile = tl.load(of_row[:, None] + these, mask=these < count, other=float("-inf")).to(tl.float32)
        v0, v1, v2, v3, v4, i0, i1, i2, i3, i4 = _merge(tile, start, v0, v1, v2, v3, v4, i0, i1, i2, i3, i4, COLUMNS)
    _store(top, row, i0, i1, i2, i3, i4)


@triton.jit
def _store(top, row, i0, i1, i2, i3, i4):
    places = top + row.to(tl.int64) * 5
    tl.store(places, i0)
    tl.store(places + 1, i1)
    tl.store(places + 2, i2)
    tl.store(places + 3, i3)
    tl.store(places + 4, i4)


@triton.jit
def _layer_norm(x, weight, bias, out, width, eps, SCALED: tl.constexpr, BIASED: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    inside = columns < width
    value = tl.load(x + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    apart = tl.where(inside, value - tl.sum(value, 0) / width, 0.0)
    value = apart * tl.rsqrt(tl.sum(apart * apart, 0) / width + eps)
    if SCALED:
        value *= tl.load(weight + columns, mask=inside, other=0.0)
    if BIASED:
        value += tl.load(bias + columns, mask=inside, other=0.0)
    tl.store(out + row * width + columns, value.to(out.dtype.element_ty), mask=inside)
