"""PNG files whose data ends early: Pillow leaves the rows that are missing empty and says nothing."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Numbers per pixel, by colour type."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of interlaced files: first column and row, step between columns and between rows (PNG specification, section 8)."""
PORTION = 2**20


def require_all_rows(image: Image.Image, content: bytes) -> None:
    """Refuse a decoded PNG file that holds fewer rows than it declares.

    Args:
        image: as Pillow decoded it.
        content: the file's bytes; of other kinds Pillow itself tells.

    Raises:
        OSError: rows are missing.
    """
    # Rows that are missing are all zero, so most files need no second look.
    last = image.crop((0, image.height - 1, image.width, image.height))
    if content.startswith(SIGNATURE) and last.getbbox(alpha_only=False) is None:
        there, needed = _unpacked_size(content), _size(content)
        if there < needed:
            raise OSError(f"it declares {image.height} rows, and {there / needed:.0%} of the data is there")


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield kind and data of each chunk."""
    view, position = memoryview(content), len(SIGNATURE)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, view[position + 8 : position + 8 + length]
        position += length + 12


def _size(content: bytes) -> int:
    """Return how many bytes the rows take that a file declares, each with a byte for its filter."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, len(SIGNATURE) + 8)
    bits = depth * CHANNELS[colour]
    sizes = [(width, height)]
    if interlaced:
        sizes = [(-((left - width) // across), -((top - height) // down)) for left, top, across, down in PASSES]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _unpacked_size(content: bytes) -> int:
    """Return how many bytes of rows a file holds, keeping a part of them at a time."""
    unpack, size = zlib.decompressobj(), 0
    for kind, data in _chunks(content):
        rest: bytes | memoryview = data if kind == b"IDAT" else b""
        while rest and not unpack.eof:
            size += len(unpack.decompress(rest, PORTION))
            rest = unpack.unconsumed_tail
    return size
