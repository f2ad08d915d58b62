"""What a mask says of a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CONTEXT, CLASS, IGNORE = 0, 1, 2

Mask: TypeAlias = "npt.NDArray[np.uint8]"
"""One of the above per pixel (height, width)."""
