"""The part of a transform that moves pixels: resize, then centre crop. Images and masks go through the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Pillow is for decoding alone: a workflow is planned without it
    from PIL import Image


Size = int | Sequence[int]
"""Pixels: the side of a square, or height and width."""


def sides(size: Size) -> tuple[int, int]:
    """Return height and width."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def simple(size: Sequence[int]) -> Size:
    """Return height and width as configs and names have them: one number of a square, else (height, width)."""
    height, width = size
    return height if height == width else (height, width)


@dataclass(frozen=True)
class Geometry:
    """How an image becomes one of `size` pixels.

    Attributes:
        size: of the result.
        resize: "squash" takes both sides to size / crop; "shortest" keeps the ratio of the sides, so that only the one
            that is shorter, as a share of what it is to be, becomes size / crop.
        crop: share of the resized image's side that the centre crop keeps.
        interpolation: filter for images; masks take the nearest pixel.
    """

    size: Size
    resize: str
    crop: float
    interpolation: str

    @property
    def name(self) -> str:
        """A folder name that tells it from every other."""
        size = "x".join(map(str, dict.fromkeys(sides(self.size))))
        return f"{self.resize}-{size}-{self.interpolation}" + (f"-{float(self.crop)!r}" if self.crop != 1 else "")

    @classmethod
    def from_name(cls, name: str) -> Geometry:
        """Return the geometry that has a name."""
        resize, size, interpolation, *crop = name.split("-", 3)
        height, _, width = size.partition("x")
        return cls(
            (int(height), int(width)) if width else int(height), resize, float(crop[0]) if crop else 1.0, interpolation
        )

    def image(self, image: Image.Image) -> Image.Image:
        """Transform an image."""
        return self._apply(image, self.interpolation)

    def mask(self, mask: Image.Image) -> Image.Image:
        """Transform a mask; no value is mixed with another."""
        return self._apply(mask, "nearest")

    def _apply(self, image: Image.Image, interpolation: str) -> Image.Image:
        from PIL import Image

        height, width = (math.floor(side / self.crop) for side in sides(self.size))
        if self.resize == "squash":
            target = (width, height)
        elif height != width:
            # As timm's ResizeKeepRatio.
            ratio = min(image.width / width, image.height / height)
            target = (round(image.width / ratio), round(image.height / ratio))
        else:
            # As torchvision: the longer side is cut off to an integer.
            short, long = sorted(image.size)
            scaled = int(width * long / short)
            target = (width, scaled) if image.width <= image.height else (scaled, height)
        if image.size != target:
            image = image.resize(target, Image.Resampling[interpolation.upper()])
        return self._crop(image)

    def _crop(self, image: Image.Image) -> Image.Image:
        # As torchvision: half-way offsets go to the even side.
        height, width = sides(self.size)
        left, top = (round((length - side) / 2.0) for length, side in zip(image.size, (width, height), strict=True))
        if (left, top) == (0, 0) and image.size == (width, height):
            return image
        return image.crop((left, top, left + width, top + height))
