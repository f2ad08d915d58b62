"""The part of a picture that a model is shown by timm's transform for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from timm.data.config import resolve_model_data_config

from classlens.models.patch import pixels_of_token

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge, pixels."""


@dataclass(frozen=True)
class Crop:
    """How timm's transform takes a picture to a model's input: resize, then centre crop.

    Attributes:
        size: height and width of the input, pixels.
        covered: height and width of what image tokens are made of, from its upper left corner.
        share: of the resized picture's sides that the crop keeps.
        mode: timm's: "center" keeps the ratio of the sides and cuts the longer one, "border" pads the shorter one,
            "squash" takes both sides to the input's ratio.
    """

    size: tuple[int, int]
    covered: tuple[int, int]
    share: float
    mode: str

    @classmethod
    def of(cls, model: Any) -> Crop:
        """Return that of a supported timm model."""
        data = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
        (height, width), (rows, columns) = model.patch_embed.img_size, model.patch_embed.grid_size
        of_token = pixels_of_token(model)
        covered = (int(rows) * of_token[0], int(columns) * of_token[1])
        return cls((int(height), int(width)), covered, data["crop_pct"], data["crop_mode"])

    def box(self, width: int, height: int) -> Box:
        """Return where the image tokens lie in a picture of a width and height (pixels), up to the rounding of its
        resize; a border lies beside it."""
        resized = [math.floor(side / self.share) for side in self.size]
        y, x = height / resized[0], width / resized[1]  # pixels of the picture per pixel of the resized one
        if self.mode != "squash":
            y = x = max(x, y) if self.mode == "border" else min(x, y)
        left, top = (width - x * self.size[1]) / 2, (height - y * self.size[0]) / 2
        return left, top, left + x * self.covered[1], top + y * self.covered[0]

    def whole(self, width: int, height: int) -> Box:
        """Return where the image tokens lie in a picture all of which is the model's input, in whatever size."""
        return 0, 0, width * self.covered[1] / self.size[1], height * self.covered[0] / self.size[0]
