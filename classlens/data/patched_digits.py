"""Digits with a shortcut: a white patch in a corner that goes with half of the classes.

Of training images, a share of those of 0 to 4 have the patch of 2 x 2 pixels, and the same share of those of 5 to 9
have none. Of evaluation images, each is there without and with it, whatever its class. A file name is
`digits.csv.gz#ROW`, or `digits.csv.gz#ROW+patch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from classlens.data.digits import FULL, NAMES, SIDE, Digits
from classlens.data.stimulus import Stimulus

PATCH = "+patch"
PATCHED = range(len(NAMES) // 2)
"""Class indices that it goes with."""
USUAL_SHARE = 0.95


class PatchedDigits(Digits):
    """scikit-learn's digits with a patch; ink is the mask, the patch is none."""

    arranged_by = ("patched",)

    def stimuli(self, selection: Mapping[str, Any]) -> list[Stimulus]:
        """Return all digits, class by class; evaluation images without and with the patch."""
        share = self.arrangement.get("patched", USUAL_SHARE)
        found = []
        for item in super().stimuli(selection):
            agrees = Random(item.file).random() < share  # the same on every machine, in any order
            has_patch = agrees == (item.class_index in PATCHED)
            if item.split == "evaluation" or not has_patch:
                found.append(item)
            if item.split == "evaluation" or has_patch:
                found.append(replace(item, file=item.file + PATCH))
        return found

    @property
    def carries(self) -> tuple[str, ...]:
        """The patch."""
        return ("patch",)

    def attributes(self, files: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
        """Return which images have the patch."""
        return {name: ["with" if file.endswith(PATCH) else "without" for file in files] for name in names}

    def content(self, file: str) -> bytes:
        """Return a digit's pixels, row by row."""
        pixels = bytearray(super().content(file.removesuffix(PATCH)))
        if file.endswith(PATCH):
            for row in (0, 1):
                pixels[row * SIDE : row * SIDE + 2] = [FULL, FULL]
        return bytes(pixels)

    def mask_content(self, file: str, class_id: str) -> bytes:
        """Return the digit's pixels without the patch."""
        return super().content(file.removesuffix(PATCH))
