"""The part of a transform that moves pixels: resize, then centre crop. Images and masks go through the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Pillow is for decoding alone: a workflow is planned without it
    from PIL import Image


@dataclass(frozen=True)
class Geometry:
    """How an image becomes a square of `size` pixels.

    Attributes:
        size: side of the result, pixels.
        resize: "squash" takes both sides to size / crop, "shortest" only the shorter one.
        crop: share of the resized image's side that the centre crop keeps.
        interpolation: filter for images; masks take the nearest pixel.
    """

    size: int
    resize: str
    crop: float
    interpolation: str

    @property
    def name(self) -> str:
        """A folder name that tells it from every other."""
        return f"{self.resize}-{self.size}-{self.interpolation}" + (f"-{float(self.crop)!r}" if self.crop != 1 else "")

    @classmethod
    def from_name(cls, name: str) -> Geometry:
        """Return the geometry that has a name."""
        resize, size, interpolation, *crop = name.split("-", 3)
        return cls(int(size), resize, float(crop[0]) if crop else 1.0, interpolation)

    def image(self, image: Image.Image) -> Image.Image:
        """Transform an image."""
        return self._apply(image, self.interpolation)

    def mask(self, mask: Image.Image) -> Image.Image:
        """Transform a mask; no value is mixed with another."""
        return self._apply(mask, "nearest")

    def _apply(self, image: Image.Image, interpolation: str) -> Image.Image:
        from PIL import Image

        side = math.floor(self.size / self.crop)
        if self.resize == "squash":
            target = (side, side)
        else:
            # As torchvision: the longer side is cut off to an integer.
            short, long = sorted(image.size)
            scaled = int(side * long / short)
            target = (side, scaled) if image.width <= image.height else (scaled, side)
        if image.size != target:
            image = image.resize(target, Image.Resampling[interpolation.upper()])
        return self._crop(image)

    def _crop(self, image: Image.Image) -> Image.Image:
        # As torchvision: half-way offsets go to the even side.
        left, top = (round((length - self.size) / 2.0) for length in image.size)
        if (left, top) == (0, 0) and image.size == (self.size, self.size):
            return image
        return image.crop((left, top, left + self.size, top + self.size))
