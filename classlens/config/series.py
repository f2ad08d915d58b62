"""A series: one model at several points of its training. Each point is a model of its own, NAME@POINT."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classlens.errors import InputError


def with_points(models: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the models with every series' points in its place, in the order of training.

    A point has its series' keys, and `series`: its name, label and `at`, the point's number and whether it `is_last`.
    Only the last has a random twin, which is the series'.

    Raises:
        InputError: there are no checkpoints, or their names do not say an order.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, model in models.items():
        given, at = model.pop("checkpoints"), model.pop("at")
        points = list(_points(name, model, given))
        if not points:
            found[name] = model
            continue
        label, at = model.get("label", name), at or ("step" if given else "epoch")
        for number, weights in points:
            is_last = number == points[-1][0]
            found[f"{name}@{number}"] = {
                **model,
                "label": f"{label}, {at} {number}",
                "weights": weights,
                "random_twin": model["random_twin"] and is_last,
                "series": {"name": name, "label": label, "at": at, "point": number, "is_last": is_last},
            }
    return found


def _points(name: str, model: Mapping[str, Any], given: str | Sequence[str] | None) -> Iterator[tuple[int, Any]]:
    """Yield number and weights of a model's points in order, none where it is no series."""
    weights = model["weights"]
    kept = weights["train"].pop("keep", None) if isinstance(weights, dict) else None
    if given is not None:
        if weights != "pretrained":
            raise InputError(f"config: models.{name}: checkpoints are its weights; remove the key `weights`")
        yield from sorted(_numbered(name, given).items())
    elif kept is not None:
        epochs = weights["train"]["epochs"]
        if max(kept) > epochs:
            raise InputError(
                f"config: models.{name}.weights.train.keep: there is no epoch {max(kept)}, epochs is {epochs}; give "
                f"numbers from 0, which is before training, to {epochs}"
            )
        yield from ((epoch, weights) for epoch in sorted({*kept, epochs}))


def _numbered(name: str, given: str | Sequence[str]) -> dict[int, str]:
    """Return the checkpoints by the number in their names: the first that differs between all of them."""
    key = f"config: models.{name}.checkpoints"
    if isinstance(given, str):
        paths = sorted(glob.glob(os.path.expanduser(given), recursive=True))
        if not paths:
            there = "" if os.path.isabs(os.path.expanduser(given)) else f" in {Path.cwd()}"
            raise InputError(f"{key}: nothing is called {given}{there}; give a pattern such as ckpt/epoch_*.pt")
    else:
        paths = [os.path.expanduser(path) for path in given]
    numbers = [[int(digits) for digits in re.findall(r"\d+", path)] for path in paths]
    if len(paths) == 1 and numbers[0]:
        return {numbers[0][-1]: paths[0]}
    if len(set(map(len, numbers))) == 1:
        for column in zip(*numbers, strict=True):
            if len(set(column)) == len(paths):
                return dict(zip(column, paths, strict=True))
    raise InputError(
        f"{key}: no number tells {', '.join(paths[:2])}{', ...' if len(paths) > 2 else ''} apart; name them so that "
        f"one does (epoch_1.pt, epoch_2.pt, ...), or list those that are so named"
    )
