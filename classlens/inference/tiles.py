"""Kernels for NVIDIA GPUs: what is kept of a token's logits or key coefficients, with no tensor of logits in memory.

These two go through the columns in tiles and keep the five largest so far, sorted. Tile sizes are fixed and rows do not
mix, so a row's numbers depend neither on the batch nor on timing. Needs triton, which torch brings for CUDA.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from classlens.terms import TOP

assert TOP == 5  # the kernels spell the five places out

ROWS, CLASSES = 64, 128
"""Tokens and classes of a tile of logits."""
TOKENS, COLUMNS = 1, 256
"""Tokens and columns of a tile of key coefficients. A token goes on alone: one that has its five waits for no other."""


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
    images, tokens, width = x.shape
    count, rows = len(weight), images * tokens
    rank, top = _new(x, rows, dtype=torch.int32), _new(x, rows, TOP, dtype=torch.int32)
    logit, largest, smallest = (_new(x, rows, dtype=torch.float32) for _ in range(3))
    exact = x.dtype == torch.float32 and not (x.is_cuda and torch.backends.cuda.matmul.allow_tf32)
    with _on_device_of(x):
        _summarise[(triton.cdiv(rows, ROWS),)](
            x.contiguous(),
            weight.contiguous(),
            weight if bias is None else bias.contiguous(),
            classes,
            rank,
            logit,
            top,
            largest,
            smallest,
            rows,
            tokens,
            count,
            width,
            BIASED=bias is not None,
            ROWS=ROWS,
            CLASSES=CLASSES,
            DEPTH=32 if x.dtype == torch.float32 else 64,
            PRECISION="ieee" if exact or x.dtype != torch.float32 else "tf32",
            WIDEN=not x.is_cuda,  # triton's interpreter cannot multiply bfloat16
            IMAGES=triton.next_power_of_2(max(16, (ROWS - 2) // tokens + 2)),
            num_warps=8 if exact else 4,  # exact products need more registers than four warps have
            num_stages=3,
        )
    found = {"rank": rank, "logit": logit, "largest": largest, "smallest": smallest}
    return {
        **{name: values.view(images, tokens) for name, values in found.items()},
        "top5": top.view(images, tokens, TOP)[..., : min(TOP, count)],
    }


def strongest_tiled(values: torch.Tensor) -> torch.Tensor:
    """Return the places (..., min(5, M)) int32 of the largest of (..., M), largest first, of equals the earlier one."""
    count = values.shape[-1]
    flat = values.reshape(-1, count).contiguous()
    top = _new(values, len(flat), TOP, dtype=torch.int32)
    with _on_device_of(values):
        _strongest[(triton.cdiv(len(flat), TOKENS),)](
            flat, top, len(flat), count, TOKENS=TOKENS, COLUMNS=COLUMNS, num_warps=1
        )
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
def _tile(
    x,
    weight,
    bias,
    rows,
    some,
    classes,
    known,
    width,
    BIASED: tl.constexpr,
    ROWS: tl.constexpr,
    CLASSES: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
):
    """Return the logits (ROWS, CLASSES) of some tokens and some classes, which are `some` and `known`."""
    inner = tl.arange(0, DEPTH)
    total = tl.zeros((ROWS, CLASSES), dtype=tl.float32)
    of_rows = x + rows.to(tl.int64)[:, None] * width
    of_classes = weight + classes.to(tl.int64)[None, :] * width
    for start in range(0, width, DEPTH):
        columns = start + inner
        inside = columns < width
        left = tl.load(of_rows + columns[None, :], mask=some[:, None] & inside[None, :], other=0.0)
        right = tl.load(of_classes + columns[:, None], mask=known[None, :] & inside[:, None], other=0.0)
        if WIDEN:
            left, right = left.to(tl.float32), right.to(tl.float32)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    if BIASED:
        total += tl.load(bias + classes, mask=known, other=0.0).to(tl.float32)[None, :]
    return total


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
    x,
    weight,
    bias,
    classes,
    rank,
    logit,
    top,
    largest,
    smallest,
    total,
    tokens,
    count,
    width,
    BIASED: tl.constexpr,
    ROWS: tl.constexpr,
    CLASSES: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    IMAGES: tl.constexpr,
):
    first = tl.program_id(0) * ROWS
    lane = tl.arange(0, CLASSES)
    rows = first + tl.arange(0, ROWS)
    some = rows < total
    # The logit of each row's own class first. It comes out of a tile like all others, whose columns are the classes of
    # the images that the rows belong to, so that sums run in the same order and equal logits are found equal.
    image = tl.arange(0, IMAGES)
    own = tl.load(classes + first // tokens + image, mask=(first // tokens + image) * tokens < total, other=0)
    owns = _tile(x, weight, bias, rows, some, own, own < count, width, BIASED, ROWS, IMAGES, DEPTH, PRECISION, WIDEN)
    score = tl.sum(tl.where(image[None, :] == (rows // tokens - first // tokens)[:, None], owns, 0.0), 1)
    mine = tl.load(classes + rows // tokens, mask=some, other=0)

    above = tl.zeros((ROWS,), dtype=tl.int32)
    faulty = tl.zeros((ROWS,), dtype=tl.int32)
    least = tl.full((ROWS,), float("inf"), dtype=tl.float32)
    v0 = tl.full((ROWS,), float("-inf"), dtype=tl.float32)
    v1, v2, v3, v4 = v0, v0, v0, v0
    i0 = tl.zeros((ROWS,), dtype=tl.int32)
    i1, i2, i3, i4 = i0, i0, i0, i0
    for start in range(0, count, CLASSES):
        these = start + lane
        known = these < count
        tile = _tile(x, weight, bias, rows, some, these, known, width, BIASED, ROWS, CLASSES, DEPTH, PRECISION, WIDEN)
        # Maxima and minima pass over NaN.
        faulty += tl.sum((tile != tile).to(tl.int32), 1)
        least = tl.minimum(least, tl.min(tl.where(known[None, :], tile, float("inf")), 1))
        tile = tl.where(known[None, :], tile, float("-inf"))
        larger = (tile > score[:, None]) & (these[None, :] != mine[:, None])
        above += tl.sum(larger.to(tl.int32), 1)
        v0, v1, v2, v3, v4, i0, i1, i2, i3, i4 = _merge(tile, start, v0, v1, v2, v3, v4, i0, i1, i2, i3, i4, CLASSES)
    tl.store(rank + rows, above, mask=some)
    tl.store(logit + rows, score, mask=some)
    tl.store(largest + rows, tl.where(faulty > 0, float("nan"), v0), mask=some)
    tl.store(smallest + rows, least, mask=some)
    _store(top, rows, some, i0, i1, i2, i3, i4)


@triton.jit
def _strongest(values, top, total, count, TOKENS: tl.constexpr, COLUMNS: tl.constexpr):
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    some = rows < total
    lane = tl.arange(0, COLUMNS)
    of_rows = values + rows.to(tl.int64)[:, None] * count
    v0 = tl.full((TOKENS,), float("-inf"), dtype=tl.float32)
    v1, v2, v3, v4 = v0, v0, v0, v0
    i0 = tl.zeros((TOKENS,), dtype=tl.int32)
    i1, i2, i3, i4 = i0, i0, i0, i0
    for start in range(0, count, COLUMNS):
        columns = start + lane
        inside = some[:, None] & (columns < count)[None, :]
        tile = tl.load(of_rows + columns[None, :], mask=inside, other=float("-inf")).to(tl.float32)
        v0, v1, v2, v3, v4, i0, i1, i2, i3, i4 = _merge(tile, start, v0, v1, v2, v3, v4, i0, i1, i2, i3, i4, COLUMNS)
    _store(top, rows, some, i0, i1, i2, i3, i4)


@triton.jit
def _store(top, rows, some, i0, i1, i2, i3, i4):
    places = top + rows.to(tl.int64) * 5
    tl.store(places, i0, mask=some)
    tl.store(places + 1, i1, mask=some)
    tl.store(places + 2, i2, mask=some)
    tl.store(places + 3, i3, mask=some)
    tl.store(places + 4, i4, mask=some)


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
