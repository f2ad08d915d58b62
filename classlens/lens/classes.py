"""Classes by index or name, and which name has which index."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

from classlens.arrays import Array
from classlens.classes import check_classes
from classlens.errors import InputError
from classlens.inference.probe import behaviour
from classlens.models.one_output import NEGATIVE, POSITIVE

Class = int | str
"""A class, by its index or, where names are known, its name."""
Names = Iterable[str] | Mapping[Any, Any]
"""Names in the order of classes, or by index (id2label), or indices by name (class_to_idx, label2id)."""


class Classes:
    """The classes that a model knows.

    Args:
        model: a supported timm model, as it was opened.
        names: of its C classes. None: those that came with its weights (`label_names` of its pretrained_cfg), if there
            are C; or timm's, of a model with as many classes as its pretrained weights for ImageNet have; else there
            are none.
        one_output: the model had one output. Then one name is that of the positive class.
        exist: the model has a head; without one its outputs are no classes.

    Raises:
        InputError: there are not C names, or a mapping does not give each class one.
    """

    def __init__(self, model: Any, names: Names | None = None, *, one_output: bool = False, exist: bool = True) -> None:
        self.count, self._exist = behaviour(model).classes, exist
        if names is None:
            found = _known_names(model, self.count, one_output) if exist else None
        else:
            self.require("names of classes")
            found = in_order(names)
        if one_output and self.count == 2:
            if found is None:
                found = [NEGATIVE, POSITIVE]
            elif len(found) == 1:
                found = [f"not {found[0]}", found[0]]
        self._names = found
        if self._names is not None and len(self._names) != self.count:
            raise InputError(f"class_names has {len(self._names)} names, but the model {self.count} classes")

    def require(self, what: str) -> None:
        """Refuse what needs classes of a model without a head.

        Raises:
            InputError: naming the ways to a head.
        """
        if not self._exist:
            raise InputError(
                f"the model has no head, so it has no classes and there are no {what}: set model.head to a linear "
                f"layer (classes x width), take weights with a head, or in a config the key `head` (docs/heads.md)"
            )

    def indices(self, chosen: Class | Sequence[Class] | Array | torch.Tensor, images: int) -> Array:
        """Return the class index of each image (N) int64, given a class, or one per image.

        Raises:
            InputError: a class is none of the model's, its name is unknown or that of several, or there are neither
                one nor N.
        """
        self.require("classes to choose from")
        if isinstance(chosen, torch.Tensor):
            chosen = chosen.detach().cpu().numpy()
        if isinstance(chosen, np.ndarray):
            chosen = chosen.tolist() if chosen.dtype.kind in "iuU" else chosen.astype(object).tolist()
        single = isinstance(chosen, str) or not isinstance(chosen, Iterable)
        several: list[Any] = [chosen] if single else list(chosen)  # type: ignore[arg-type]
        if len(several) == 1:
            several *= images
        if len(several) != images:
            raise InputError(f"class_index has {len(several)} classes for {images} images; give one, or one per image")
        several = [one.item() if isinstance(one, torch.Tensor) and not one.ndim else one for one in several]
        found = np.array([self._index(one) for one in several], dtype=np.int64)
        return check_classes(found, self.count)

    def label(self, index: int) -> str:
        """Return what a class is called in figures."""
        return f"class {index}" if self._names is None else self._names[index]

    def names(self, indices: Array) -> Array:
        """Return the names of classes, in the shape of their indices.

        Raises:
            InputError: names are not known.
        """
        return np.array(self._known(), dtype=object)[indices]

    def _index(self, chosen: Class) -> int:
        if isinstance(chosen, Integral) and not isinstance(chosen, bool):
            return int(chosen)
        if not isinstance(chosen, str):
            raise InputError(f"class {chosen!r} is a {type(chosen).__name__}; give its index or its name")
        names = self._known()
        # ImageNet's names list synonyms: "tabby, tabby cat".
        places = [index for index, name in enumerate(names) if chosen == name or chosen in name.split(", ")]
        if len(places) > 1:
            raise InputError(f"class {chosen!r} is the name of {' and '.join(map(str, places))}; give the index")
        if not places:
            close = difflib.get_close_matches(chosen, [*names, *(part for name in names for part in name.split(", "))])
            advice = f"did you mean {' or '.join(map(repr, dict.fromkeys(close)))}?" if close else "give its index"
            raise InputError(f"no class of the model is called {chosen!r}; {advice}")
        return places[0]

    def _known(self) -> list[str]:
        if self._names is None:
            raise InputError(
                "the names of the model's classes are not known; give them: Lens(model, class_names=[...])"
            )
        return self._names


def in_order(names: Names) -> list[str]:
    """Return names in the order of classes.

    Raises:
        InputError: they have no order, or a mapping does not give each of 0..C-1 one name, or can be read both ways.
    """
    if isinstance(names, str | bytes | set | frozenset) or not isinstance(names, Iterable):
        raise InputError(
            f"class_names is a {type(names).__name__}, which has no order of classes; give a list in the order of the "
            f"model's outputs, or a mapping by index or by name"
        )
    if not isinstance(names, Mapping):
        return [str(name) for name in names]
    by_index, by_name = _placed(list(names.items())), _placed([(value, key) for key, value in names.items()])
    found = [one for one in (by_index, by_name) if isinstance(one, list)]
    if len(found) == 2 and by_index != by_name:
        raise InputError(
            "class_names maps numbers to numbers, so that index and name cannot be told apart; give a list of names in "
            "the order of the model's outputs"
        )
    if found:
        return found[0]
    keys = all(_index_of(key) is not None for key in names)
    raise InputError(
        f"class_names is a mapping with {by_index if keys else by_name}; give each of 0..{len(names) - 1} one name, as "
        f"in {{0: 'cat', 1: 'dog'}} or {{'cat': 0, 'dog': 1}}"
    )


def _placed(pairs: Sequence[tuple[Any, Any]]) -> list[str] | str:
    """Return names by their indices, or what is wrong with the indices; pairs are (index, name)."""
    named: dict[int, str] = {}
    for given, name in pairs:
        index = _index_of(given)
        if index is None:
            return f"the index {given!r}, which is no whole number"
        if index >= len(pairs) or index < 0:
            return f"the index {index}, but {len(pairs)} entries"
        if index in named:
            return f"the index {index} for {named[index]!r} and {str(name)!r}"
        named[index] = str(name)
    return [named[index] for index in range(len(pairs))]


def _index_of(given: Any) -> int | None:
    if isinstance(given, Integral) and not isinstance(given, bool):
        return int(given)
    return int(given) if isinstance(given, str) and given.isascii() and given.isdigit() else None


def _known_names(model: Any, count: int, one_output: bool) -> list[str] | None:
    config = getattr(model, "pretrained_cfg", None) or {}
    labels, descriptions = config.get("label_names"), config.get("label_descriptions") or {}
    if labels and len(labels) in (count, 1 if one_output else count):
        return [descriptions.get(name, name) for name in in_order(labels)]
    subset = infer_imagenet_subset(model) if config.get("num_classes") == count else None
    return None if subset is None else list(ImageNetInfo(subset).label_descriptions())
