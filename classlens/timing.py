"""How long something takes per image, from short trials."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

TRIAL_IMAGES = 32
REPEATS = 3
ENOUGH = 1.0
"""Seconds that a trial should take at most; after that time two repeats do."""


@dataclass(frozen=True)
class Span:
    """Seconds, from the fastest repeat to the slowest."""

    low: float = 0
    high: float = 0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Span:
        return Span(self.low * factor, self.high * factor)

    def __str__(self) -> str:
        if self.high < 1:
            return "less than a second"
        low, high = _duration(self.low), _duration(self.high)
        return f"about {low}" if low == high else f"about {low} to {high}"


@dataclass(frozen=True)
class Stage:
    """Something that a run does with images.

    Attributes:
        name: what it is called; stages of the same name are added up.
        images: how many it takes.
        run: does it with some of them.
        key: stages with an equal one take equally long per image.
    """

    name: str
    images: float
    run: Callable[[int], object]
    key: str = ""


def per_image(run: Callable[[int], object]) -> Span:
    """Return the seconds per image of a function of the number of images."""
    run(1)  # the first call is slower than later ones
    found = [_seconds(run, 1)]
    count = max(1, min(TRIAL_IMAGES, int(ENOUGH / found[0])))
    if count > 1:
        found = []
    while len(found) < 2 or (len(found) < REPEATS and sum(found) < ENOUGH):
        found.append(_seconds(run, count))
    return Span(min(found) / count, max(found) / count)


def _seconds(run: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    run(count)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"
