"""What a token of a picture attends to, per block and head, as pictures and a page of them."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from classlens.arrays import Array
from classlens.catalog.reading import prefix_names
from classlens.errors import InputError
from classlens.figures.importance import colours
from classlens.inference.attention_rows import attention_of
from classlens.inference.probe import behaviour
from classlens.lens.lens import Lens
from classlens.models.pictures import as_inputs, photos
from classlens.page.pack import picture

CELL = 112
"""Side of a picture on the page, pixels at most."""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 1rem; font: 15px/1.4 system-ui, sans-serif; }}
h1 {{ font-size: 1.3rem; overflow-wrap: anywhere; }}
div {{ overflow-x: auto; }}
td, th {{ padding: 2px 4px; font-weight: 400; font-size: .8rem; text-align: center; }}
th[scope=row] {{ position: sticky; left: 0; background: Canvas; white-space: nowrap; }}
img {{ display: block; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>
<div role="region" aria-label="Attention by block and head" tabindex="0">
<table>
<thead><tr><td></td>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
</body>
</html>
"""
TEXT = (
    "What {token} attends to: a row per block, a column per head, and the mean of the heads. Colour and opacity are "
    "attention weights as a share of the largest on any image token of that map; the number is how much of the "
    "attention is on image tokens{rest}."
)


@dataclass(frozen=True)
class TokenAttention:
    """The attention of one token of one picture.

    Attributes:
        weights: (B, H, T).
        photo: (height, width, 3) uint8, as the model sees it.
        grid: rows and columns of image tokens, which come last among the T.
        token: its position among all.
        prefix: names of the other tokens.
    """

    weights: Array
    photo: Array
    grid: tuple[int, int]
    token: int
    prefix: list[str]

    @property
    def name(self) -> str:
        """What the token is called."""
        if self.token < len(self.prefix):
            return self.prefix[self.token]
        row, column = divmod(self.token - len(self.prefix), self.grid[1])
        return f"row {row + 1}, column {column + 1}"

    def pictures(self) -> Iterator[tuple[int, int | None, float, Image.Image]]:
        """Yield block, head (None: their mean), the share of attention on image tokens, and the map over the photo."""
        for block, heads in enumerate(self.weights):
            for head, weights in [*enumerate(heads), (None, heads.mean(0))]:
                image = weights[len(self.prefix) :]
                yield block, head, float(image.sum()), self._drawn(image.reshape(self.grid))

    def _drawn(self, weights: Array) -> Image.Image:
        """Return weights (rows, columns) over the photo, which shows where there is little."""
        height, width = self.photo.shape[:2]
        over = Image.fromarray(colours(weights, signed=False)).resize((width, height), Image.Resampling.NEAREST)
        drawn = Image.fromarray(self.photo).convert("L").convert("RGBA")
        drawn.alpha_composite(over)
        if self.token >= len(self.prefix):
            row, column = divmod(self.token - len(self.prefix), self.grid[1])
            tall, wide = height / self.grid[0], width / self.grid[1]
            corners = [column * wide, row * tall, (column + 1) * wide - 1, (row + 1) * tall - 1]
            ImageDraw.Draw(drawn).rectangle(corners, outline=(255, 255, 255, 255), width=2)
        return drawn.convert("RGB")


def token_attention(lens: Lens, path: Path, place: tuple[int, int] | None) -> TokenAttention:
    """Return what a token of a picture attends to.

    Args:
        lens: on any model, with or without a head.
        path: the picture.
        place: row and column of an image token, from 1; None: [CLS].

    Raises:
        InputError: there is no such token, or the attention cannot be reached.
    """
    model = lens.model
    rows, columns = (int(side) for side in model.patch_embed.grid_size)
    distilled = getattr(model, "head_dist", None) is not None
    prefix = prefix_names(model.num_prefix_tokens, has_class_token=model.cls_token is not None, distilled=distilled)
    if place is None:
        if model.cls_token is None:
            raise InputError("the model has no [CLS] token; say which image token: --token row,column")
        token = 0
    else:
        if not (1 <= place[0] <= rows and 1 <= place[1] <= columns):
            raise InputError(f"there is no token {place[0]},{place[1]}; rows go from 1 to {rows}, columns to {columns}")
        token = len(prefix) + (place[0] - 1) * columns + place[1] - 1
    inputs = as_inputs(model, path, behaviour(model).channels)
    weights = attention_of(model, inputs, None, token)[:, 0].numpy()
    photo = np.rint(255 * photos(model, inputs)[0]).astype(np.uint8)
    return TokenAttention(weights, photo, (rows, columns), token, prefix)


def write_attention(found: TokenAttention, folder: Path, *, model: str, file: str) -> Path:
    """Write a PNG per block and head, and a page of all; return the page.

    Args:
        found: what is shown.
        folder: takes index.html, block_00_head_00.png (both from 0) and block_00_mean.png; made where it is missing.
        model, file: what model and picture are called.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[int, list[str]] = {}
    for block, head, share, drawn in found.pictures():
        which = "mean" if head is None else f"head_{head:02}"
        drawn.save(folder / f"block_{block:02}_{which}.png")
        name = "mean of heads" if head is None else f"head {head + 1}"
        alt = f"block {block + 1}, {name}: {share:.0%} of the attention is on image tokens"
        cell = f'<td><img src="{picture(np.asarray(drawn), CELL)}" alt="{alt}">{share:.0%}</td>'
        rows.setdefault(block, [f'<th scope="row">block {block + 1}</th>']).append(cell)
    names = [*(f"head {head + 1}" for head in range(found.weights.shape[1])), "mean"]
    rest = f", the rest is on {' and '.join(found.prefix)}" if found.prefix else ""
    text = TEXT.format(token=found.name, rest=rest)
    page = folder / "index.html"
    page.write_text(
        PAGE.format(
            title=html.escape(f"Attention of {found.name} in {model}: {file}"),
            text=html.escape(text),
            heads="".join(f'<th scope="col">{name}</th>' for name in names),
            rows="\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows.values()),
        ),
        encoding="utf-8",
        newline="\n",
    )
    return page
