"""Check what users ask for: sites, blocks, tokens, heads, values."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
import torch

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.terms import SITES

Values = Array | torch.Tensor | float


def require_site(site: str) -> str:
    """Return a site as it came.

    Raises:
        InputError: there is no such site.
    """
    if site not in SITES:
        raise InputError(f"there is no site {site!r}; take one of {', '.join(SITES)}")
    return site


def require_place(place: Any, count: int, what: str) -> int:
    """Return a place among `count` things, counted from 0; -1 is the last.

    Raises:
        InputError: there is no such place.
    """
    if not isinstance(place, Integral) or not -count <= int(place) < count:
        raise InputError(f"there is no {what} {place!r}; {what}s count from 0 to {count - 1}")
    return int(place) % count


def require_places(places: Iterable[Any], count: int, what: str) -> list[int]:
    """Return several places, see `require_place`.

    Raises:
        InputError: one of them is not there, or there are none.
    """
    found = [require_place(place, count, what) for place in (places if isinstance(places, Iterable) else [places])]
    if not found:
        raise InputError(f"there are no {what}s; give at least one")
    return found


def as_values(values: Values | str, shape: tuple[int, ...], axes: str) -> torch.Tensor:
    """Return values (1, *shape), or (n, *shape) where there are some for each of n images.

    Args:
        values: "zero", or numbers that are broadcast to the shape for one image.
        axes: what the shape is, for messages.

    Raises:
        InputError: they do not fit.
    """
    if isinstance(values, str):
        if values != "zero":
            raise InputError(f"value {values!r} is unknown; take 'zero' or an array, broadcast to {axes}")
        values = 0.0
    numbers = values.detach() if isinstance(values, torch.Tensor) else torch.tensor(np.asarray(values, np.float32))
    images = len(numbers) if numbers.ndim > len(shape) else 1
    try:
        return numbers.broadcast_to((images, *shape))
    except RuntimeError:
        expected = f"(n, {', '.join(map(str, shape))})"
        given = tuple(numbers.shape)
        raise InputError(f"values are {given}, but are broadcast to {axes}, here {expected}; give that shape") from None


def values_of(values: torch.Tensor, part: slice, images: int) -> torch.Tensor:
    """Return those of `as_values` for some of N images.

    Raises:
        InputError: there are neither one nor N.
    """
    if len(values) not in (1, images):
        raise InputError(f"values are for {len(values)} images, but {images} are looked at; give one, or one per image")
    return values if len(values) == 1 else values[part]
