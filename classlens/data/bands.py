"""Images of any number of channels: .npy arrays (H, W, C), and TIFF files with a page or a sample for each channel."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from classlens.arrays import Array
from classlens.data.images import BROKEN, stored_values
from classlens.errors import InputError


class Bands(Image.Image):
    """An image as Pillow's, of which each channel is a grey one, since Pillow itself knows no such mode."""

    def __init__(self, channels: Sequence[Image.Image]) -> None:
        super().__init__()
        self._channels, self._size = channels, channels[0].size

    def resize(self, *given: Any, **options: Any) -> Bands:
        """Resize each channel."""
        return Bands([one.resize(*given, **options) for one in self._channels])

    def crop(self, *given: Any, **options: Any) -> Bands:
        """Crop each channel."""
        return Bands([one.crop(*given, **options) for one in self._channels])

    def getextrema(self) -> Any:
        """Return least and largest value of each channel."""
        return tuple(one.getextrema() for one in self._channels)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        array = np.stack([np.asarray(one) for one in self._channels], axis=-1)
        return {"shape": array.shape, "typestr": array.dtype.str, "version": 3, "data": array.tobytes()}


def open_bands(content: bytes, path: Path, channels: int, value_range: Sequence[float] | None = None) -> Bands:
    """Decode an image of several channels; values become 8 bits as `classlens.data.images.upright_rgb` says.

    Args:
        content: the file's bytes.
        path: named in errors; its suffix says whether it is an array.
        channels: C.
        value_range: the stored values that become 0 and 255; None where their type says it.

    Raises:
        InputError: it cannot be read, has another number of channels, or values whose range is not known.
    """
    try:
        is_array = path.suffix.lower() == ".npy"
        array = np.load(io.BytesIO(content), allow_pickle=False) if is_array else _pages(content, path)
    except (*BROKEN, EOFError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as an image of {channels} channels ({error}); save it as a .npy array (H, W, "
            f"{channels})"
        ) from error
    if array.ndim != 3 or array.shape[-1] != channels or not array.size or array.dtype.kind not in "uif":
        raise InputError(
            f"{path} holds {array.dtype} {array.shape}, but the data set's key channels says {channels}; save it as a "
            f".npy array (H, W, {channels}) of numbers, or correct the key"
        )
    values = _eight_bits(array, path, value_range)
    return Bands([Image.fromarray(np.ascontiguousarray(values[..., one])) for one in range(channels)])


def _pages(content: bytes, path: Path) -> Array:
    """Return a TIFF file's pages as channels, or the samples of its only page."""
    with Image.open(io.BytesIO(content), formats=["TIFF"]) as image:
        pages = []
        for page in ImageSequence.Iterator(image):
            values = stored_values(page)
            if values.halved or values.signed or values.inverted or values.bits == 32 or page.mode in ("1", "P"):
                raise InputError(
                    f"{path} has values of a type that is not read as channels (16-bit colours, signed or 32-bit whole "
                    f"numbers, inverted or indexed ones); save it as a .npy array (H, W, C)"
                )
            pages.append(np.array(page))
    return pages[0] if len(pages) == 1 else np.stack(pages, axis=-1)


def _eight_bits(array: Array, path: Path, value_range: Sequence[float] | None) -> Array:
    if array.dtype == np.uint8 and value_range is None:
        return array
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"{path} holds values that are no numbers (NaN or infinite); replace these")
    if value_range is None and array.dtype == np.uint16:
        value_range = 0, 2**16 - 1
    elif value_range is None and array.dtype.kind == "f" and numbers.min() >= 0 and numbers.max() <= 1:
        value_range = 0, 1
    elif value_range is None:
        raise InputError(
            f"{path} holds {array.dtype} (here from {numbers.min():g} to {numbers.max():g}); give its data set the key "
            f"value_range: [low, high], the values that become 0 and 255"
        )
    low, high = value_range
    found: Array = np.rint(255 * ((numbers - low) / (high - low)).clip(0, 1)).astype(np.uint8)
    return found
