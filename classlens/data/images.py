"""From bytes to sound RGB pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from classlens.data.png import require_all_rows
from classlens.errors import InputError

BROKEN = (UnidentifiedImageError, OSError, SyntaxError, TypeError, ValueError)
"""What Pillow raises for files that it cannot decode."""


def open_image(content: bytes, path: Path) -> Image.Image:
    """Decode an image, see `upright_rgb`.

    Args:
        content: the file's bytes.
        path: named in errors.

    Raises:
        InputError: the bytes are no image, are cut off, or hold too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            require_all_rows(image, content)
            return upright_rgb(image)
    except Image.DecompressionBombError as error:  # raised before anything is decoded
        raise InputError(f"{path} has too many pixels ({error}); resize it") from error
    except BROKEN as error:
        raise InputError(
            f"{path} cannot be read as an image ({error}); replace it, or take it out of the data set"
        ) from error


def open_mask(content: bytes, path: Path) -> npt.NDArray[np.uint8]:
    """Decode a mask file into its RGB channels (height, width, 3), without any change of values.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            require_all_rows(image, content)
            return np.asarray(image.convert("RGB"))
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise InputError(f"mask {path} cannot be read ({error}); replace it") from error


def open_nonzero(content: bytes, path: Path) -> npt.NDArray[np.bool_]:
    """Tell of each pixel of a mask file whether its stored value (index, grey, any colour) is not zero (height, width).

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            opaque = image.mode in ("LA", "RGBA", "PA")
            image.load()
            require_all_rows(image, content)
            values = np.asarray(image)
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise InputError(f"mask {path} cannot be read ({error}); replace it") from error
    colours = values[..., None] if values.ndim == 2 else values
    # A fully opaque background is no object.
    return np.asarray((colours[..., :-1] if opaque else colours).any(axis=-1), dtype=np.bool_)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image as RGB.

    Transparency is laid over white; 16-bit grey is scaled to 8 bits; the rotation that a camera noted is applied.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values instead of scaling them.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered).convert("RGB")
    return image.convert("RGB")
