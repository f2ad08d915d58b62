"""Kernels for NVIDIA GPUs: what is kept of a token's logits or key coefficients, with no tensor of logits in memory.

Both go through the columns in tiles and keep the five largest so far, sorted. Tile sizes are fixed and rows do not
mix, so a row's numbers depend neither on the batch nor on timing. Needs triton, which torch brings for CUDA.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from classlens.terms import TOP

assert TOP == 5  # the kernels spell the five places out

ROWS, CLASSES = 64, 128
"""Tokens and classes of a tile of logits; a tile must be at least as wide as high, see `_own`."""
TOKENS, COLUMNS = 16, 256
"""Tokens and columns of a tile of key coefficients."""


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
    tf32 = x.dtype == torch.float32 and x.is_cuda and torch.backends.cuda.matmul.allow_tf32
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
            PRECISION="tf32" if tf32 else "ieee",
            WIDEN=not x.is_cuda,  # triton's interpreter cannot multiply bfloat16
            num_warps=8,  # with four, tiles do not fit into registers
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
            flat, top, len(flat), count, TOKENS=TOKENS, COLUMNS=COLUMNS, num_warps=4
        )
    return top.view(*values.shape[:-1], TOP)[..., : min(TOP, count)]


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
    best, place = tl.max(tile, 1, return_indices=True, return_indices_tie_break_left=True)
    # The further one is, the fewer rows find anything among their five; as soon as none does, the tile is done.
    while tl.max((best > v4).to(tl.int32), 0) > 0:
        v0, i0, value, index = _swap(v0, i0, best, start + place)
        v1, i1, value, index = _swap(v1, i1, value, index)
        v2, i2, value, index = _swap(v2, i2, value, index)
        v3, i3, value, index = _swap(v3, i3, value, index)
        v4, i4, value, index = _swap(v4, i4, value, index)
        tile = tl.where(lane[None, :] == place[:, None], float("-inf"), tile)
        best, place = tl.max(tile, 1, return_indices=True, return_indices_tie_break_left=True)
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
):
    first = tl.program_id(0) * ROWS
    height, lane = tl.arange(0, ROWS), tl.arange(0, CLASSES)
    rows = first + height
    some = rows < total
    # The logit of each row's own class first. It comes out of a tile of the same shape as all others, whose columns are
    # the rows' classes, so that sums run in the same order and equal logits are found equal.
    others = first + lane % ROWS
    own = tl.load(classes + others // tokens, mask=others < total, other=0)
    tile = _tile(x, weight, bias, rows, some, own, own < count, width, BIASED, ROWS, CLASSES, DEPTH, PRECISION, WIDEN)
    score = tl.sum(tl.where(lane[None, :] == height[:, None], tile, 0.0), 1)
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
