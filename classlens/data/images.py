"""From bytes to sound RGB pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from classlens.arrays import Array
from classlens.data.contrast import STORED
from classlens.data.mask import CLASS, CONTEXT, Mask
from classlens.data.png import require_all_rows
from classlens.errors import InputError

BROKEN = (UnidentifiedImageError, OSError, SyntaxError, TypeError, ValueError)
"""What Pillow raises for files that it cannot decode."""
TIFF = (b"II*\0", b"MM\0*")
UNKNOWN_TIFF = "a TIFF file, but its values are of a type or layout that Pillow does not know, such as 64-bit float"
LONGEST = 16
"""Bits of a grey value of which white is known: 32 are sums, labels or measurements."""


def open_image(content: bytes, path: Path, value_range: Sequence[float] | None = None) -> Image.Image:
    """Decode an image, see `upright_rgb`.

    Args:
        content: the file's bytes.
        path: named in errors.
        value_range: the stored values that are black and white; None where the type of the values says it.

    Raises:
        InputError: the bytes are no image, are cut off, hold too many pixels, or values whose range is not known.
    """
    try:
        with _decoded(content) as (image, values):
            found = upright_rgb(image, values, value_range)
            found.info[STORED] = _type(image, values)
            return found
    except Image.DecompressionBombError as error:  # raised before anything is decoded
        raise InputError(f"{path} has too many pixels ({error}); resize it") from error
    except UnknownRange as error:
        raise InputError(f"{path} holds {error}") from None
    except BROKEN as error:
        cause = UNKNOWN_TIFF if isinstance(error, UnidentifiedImageError) and content.startswith(TIFF) else error
        raise InputError(
            f"{path} cannot be read as an image ({cause}); replace it, or take it out of the data set"
        ) from error


def open_mask(content: bytes, path: Path) -> npt.NDArray[np.uint8]:
    """Decode a mask file into its RGB channels (height, width, 3), without any change of values.

    Raises:
        InputError: it cannot be read.
    """
    with _decoded_mask(content, path) as (image, _):
        return np.asarray(image.convert("RGB"))


def open_nonzero(content: bytes, path: Path) -> Mask:
    """Decode a mask file whose pixels are class where the stored value (index, grey, any colour) is not zero.

    Raises:
        InputError: it cannot be read, or has colours of 16 bits other than black and white.
    """
    with _decoded_mask(content, path) as (image, stored):
        opaque, values = image.mode in ("LA", "RGBA", "PA"), np.asarray(ImageOps.exif_transpose(image))
    colours = values[..., None] if values.ndim == 2 else values
    if opaque:  # a fully opaque background is no object
        colours = colours[..., :-1]
    if stored.halved and not (colours.any() and np.isin(colours, (0, 255)).all()):
        raise InputError(
            f"mask {path} has colours of 16 bits, of which Pillow reads the upper 8, so that small values would be "
            f"zero; save it with 8 bits, or with one grey channel"
        )
    return np.where(colours.any(axis=-1), CLASS, CONTEXT).astype(np.uint8)


@contextmanager
def _decoded(content: bytes) -> Iterator[tuple[Image.Image, Values]]:
    """Give an image of which all rows are there, with what its file says of its values."""
    with Image.open(io.BytesIO(content)) as image:
        values = stored_values(image)
        image.load()
        require_all_rows(image, content)
        yield image, values


@contextmanager
def _decoded_mask(content: bytes, path: Path) -> Iterator[tuple[Image.Image, Values]]:
    try:
        with _decoded(content) as found:
            yield found
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise InputError(f"mask {path} cannot be read ({error}); replace it") from error


def upright_rgb(
    image: Image.Image, values: Values | None = None, value_range: Sequence[float] | None = None
) -> Image.Image:
    """Return an image as RGB, the rotation that a camera noted applied.

    Transparency is laid over white. Grey values of more than 8 bits, and all values where a range is given, become
    round(255 (value - low) / (high - low)), clipped to 0..255.

    Args:
        image: as Pillow decoded it.
        values: what its file says of its values; by default what its mode says.
        value_range: see `open_image`.

    Raises:
        UnknownRange: the type of the values does not tell which are black and white.
    """
    values = values or stored_values(image)
    image = ImageOps.exif_transpose(image)
    deep = image.mode.startswith("I") or image.mode == "F"
    if deep or values.signed or (value_range is not None and image.mode not in ("1", "P", "PA")):
        image = _scaled(image, values, value_range)
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered).convert("RGB")
    return image.convert("RGB")


class UnknownRange(Exception):
    """Values of which nobody says which are black and white; the message says what they are, and what to do."""


@dataclass(frozen=True)
class Values:
    """What a file says of its grey values, of which Pillow's modes tell a part.

    Attributes:
        bits: of an unsigned whole number; None for other types, and where the file does not tell.
        signed: whether they are whole numbers below and above zero.
        inverted: whether the smallest value is white, and Pillow leaves it so.
        halved: whether Pillow drops the lower 8 bits of 16.
    """

    bits: int | None = None
    signed: bool = False
    inverted: bool = False
    halved: bool = False


SAMPLE_FORMAT, BITS, PHOTOMETRIC = 339, 258, 262
"""Tags of TIFF 6.0."""
UNSIGNED = ("PNG", "PPM", "JPEG2000")
"""Formats whose deep grey values are unsigned and fill 16 bits, where Pillow opens them as such."""


def stored_values(image: Image.Image) -> Values:
    """Return what an image's file says of its values, before it is decoded."""
    deep = image.mode.startswith("I") or image.mode == "F"
    decoders = [tile[3] for tile in getattr(image, "tile", ())]
    raw = [str(one if isinstance(one, str) else one[0]) for one in decoders if one]
    halved = not deep and any(";16" in mode for mode in raw)
    if isinstance(image, TiffImageFile):
        kind = image.tag_v2.get(SAMPLE_FORMAT, (1,))[0]
        bits = image.tag_v2.get(BITS, (1,))[0]
        inverted = deep and image.tag_v2.get(PHOTOMETRIC) == 0
        return Values(bits if kind == 1 else None, kind == 2, inverted, halved)
    unsigned = image.mode.startswith("I;16") if image.format is None else deep and image.format in UNSIGNED
    return Values(16 if unsigned and image.mode != "F" else None, halved=halved)


def _type(image: Image.Image, values: Values) -> str:
    """Call the type of an image's values by its name."""
    if image.mode == "F":
        return "floats"
    if values.signed:
        return "signed values"
    deep = image.mode.startswith("I")
    return f"{16 if values.halved else (values.bits or 32) if deep else 8} bits"


def _scaled(image: Image.Image, values: Values, value_range: Sequence[float] | None) -> Image.Image:
    """Return an image of 8 bits, given one of other values."""
    if values.halved:
        raise UnknownRange(
            "colours of 16 bits, of which Pillow reads 8, too few for a value_range; convert it to 8 bits"
        )
    if image.mode not in ("L", "LA", "RGB", "RGBA", "RGBX", "F") and not image.mode.startswith("I"):
        image = image.convert("RGB")
    found = np.asarray(image)
    if values.signed and found.dtype == np.uint8:
        found = found.view(np.int8)
    elif values.bits == 32 and found.dtype == np.int32:
        found = found.view(np.uint32)  # which Pillow does not know
    numbers = found.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise UnknownRange("values that are no numbers (NaN or infinite); replace these")
    low, high = value_range if value_range is not None else _range(image, numbers, values)
    shares = ((numbers - low) / (high - low)).clip(0, 1)
    bytes_ = np.rint(255 * (1 - shares if values.inverted else shares)).astype(np.uint8)
    if image.mode in ("LA", "RGBA", "RGBX"):  # opacity is none of the values
        bytes_[..., -1] = found[..., -1]
    return Image.fromarray(bytes_)


def _range(image: Image.Image, numbers: Array, values: Values) -> tuple[float, float]:
    """Return the values that are black and white by their type."""
    if image.mode != "F" and values.bits is not None and values.bits <= LONGEST:
        return 0, 2**values.bits - 1
    least, most = float(numbers.min()), float(numbers.max())
    if image.mode == "F" and least >= 0 and most <= 1:
        return 0, 1
    kind = "signed whole numbers" if values.signed else f"whole numbers of {values.bits or 'unknown'} bits"
    kind = "float values outside of 0..1" if image.mode == "F" else kind
    raise UnknownRange(
        f"{kind} (here from {least:g} to {most:g}); give its data set the key value_range: [low, high], the values "
        f"that are black and white, or convert it to 8 bits"
    )
