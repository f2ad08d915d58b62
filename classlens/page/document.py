"""The lens page as a document: one HTML file that holds what it shows and asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from classlens.arrays import Array
from classlens.page.pack import packed, picture
from classlens.progress import Progress

THUMBNAIL = 80
"""Side in pixels."""
MARK = re.compile(r"\{\{(\w+)\}\}")
"""Where the template takes something in."""

Shown = tuple[int, Mapping[str, Array], Array]
"""One image: its number; its arrays by name, the same names, types and shapes for all; its photo, uint8 (H, W, 3).

What the page's script (1_values.js) reads: `rank` and `top5` of site, token, block (and place); `logit` likewise, in
units `logit_unit` of site and block. Some pages have more: `tuned_rank` and `tuned_top5` of token, block (and place);
`importance` of method, image token, in units of its own for each method; `label` of image token; `chosen_rank`,
`tuned_chosen_rank` and `chosen_logit` of class, block, token, in units `chosen_unit` of class and block, see
`classlens.look.gather`.
"""


def document(
    about: Mapping[str, Any],
    images: Iterable[Shown],
    *,
    template: str,
    style: str,
    scripts: Sequence[str],
    held: str = "",
) -> Iterator[str]:
    """Yield the page's text, piece by piece.

    Text of configs, models and file names goes into JSON, whose `<` are escaped, and the page's script only ever sets
    it as text.

    Args:
        about: what the page says, but for its arrays; `label` is its title, `images` describes each image.
        images: in the order of their descriptions.
        template, style, scripts: sources of the page.
        held: the page of the other model, which this one can show beside it; "" where that is another file, or none.
    """
    coming = iter(images)
    first = next(coming)
    arrays = [{"name": name, "type": array.dtype.name, "shape": array.shape} for name, array in first[1].items()]
    script, css = "\n".join(Path(path).read_text() for path in scripts), Path(style).read_text()
    text = {
        "title": html.escape(str(about["label"])),
        "style": css,
        "style_digest": _digest(css),
        "script": script,
        "script_digest": _digest(script),
        "about": _as_json({**about, "arrays": arrays}),
        "held": f'<script type="application/json" id="page-0">{_as_json(held)}</script>\n' if held else "",
    }
    pieces = _elements(chain([first], coming), len(about["images"]))
    for position, part in enumerate(MARK.split(Path(template).read_text())):
        if position % 2 == 0:
            yield part
        elif part == "first_image":  # in front of the script, which shows it while the others are still being read
            yield next(pieces)
        elif part == "other_images":
            yield from pieces
        else:
            yield text[part]


def _as_json(content: Any) -> str:
    """Return JSON that ends no element of the page."""
    return json.dumps(content).replace("<", "\\u003c")


def _digest(text: str) -> str:
    """Return what a content security policy names an inline script or style by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _elements(images: Iterable[Shown], count: int) -> Iterator[str]:
    """Yield for each image the elements that hold its numbers, its photo and its thumbnail."""
    with Progress(count, "lens page") as progress:
        for image, arrays, photo in images:
            contents = {
                "values": packed(arrays.values()),
                "photo": picture(photo),
                "thumbnail": picture(photo, THUMBNAIL),
            }
            progress.advance()
            yield "".join(
                f'<script type="text/plain" id="{name}-{image}">{content}</script>\n'
                for name, content in contents.items()
            )
