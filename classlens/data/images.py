"""From bytes to sound RGB pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from classlens.errors import InputError

MOST_PIXELS = 200_000_000
"""Images beyond are refused before they are decoded."""


def open_image(content: bytes, path: Path) -> Image.Image:
    """Decode an image into upright RGB.

    Transparency is laid over white; 16-bit grey is scaled to 8 bits; the rotation that a camera noted is applied.

    Args:
        content: the file's bytes.
        path: named in errors.

    Raises:
        InputError: the bytes are no image, are cut off, or hold too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(
                    f"{path} has {image.width} x {image.height} pixels; resize it below {MOST_PIXELS:,} pixels"
                )
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as an image ({error}); replace it, or take it out of the data set"
        ) from error


def open_mask(path: Path) -> npt.NDArray[np.uint8]:
    """Decode a mask file into its RGB channels (height, width, 3), without any change of values.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"mask {path} cannot be read ({error}); replace it") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values instead of scaling them.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered).convert("RGB")
    return image.convert("RGB")
