"""Classes by index or name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

from classlens.arrays import Array
from classlens.errors import InputError
from classlens.inference.network import check_classes

Class = int | str
"""A class, by its index or, where names are known, its name."""


class Classes:
    """The classes that a model knows.

    Args:
        model: a supported timm model.
        names: of its C classes. None: timm's, of a model with as many classes as its pretrained weights for ImageNet
            have; else there are none.

    Raises:
        InputError: there are not C names.
    """

    def __init__(self, model: Any, names: Sequence[str] | None = None) -> None:
        self.count: int = model.num_classes
        self._names = _imagenet_names(model) if names is None else [str(name) for name in names]
        if self._names is not None and len(self._names) != self.count:
            raise InputError(f"class_names has {len(self._names)} names, but the model {self.count} classes")

    def indices(self, chosen: Class | Sequence[Class] | Array, images: int) -> Array:
        """Return the class index of each image (N) int64.

        Args:
            chosen: a class, or one per image.
            images: N.

        Raises:
            InputError: a class is none of the model's, its name is unknown or that of several, or there are neither
                one nor N.
        """
        single = isinstance(chosen, str) or not isinstance(chosen, Iterable)
        several: list[Any] = [chosen] if single else list(chosen)  # type: ignore[arg-type]
        if len(several) == 1:
            several *= images
        if len(several) != images:
            raise InputError(f"class_index has {len(several)} classes for {images} images; give one, or one per image")
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
        if isinstance(chosen, Integral):
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


def _imagenet_names(model: Any) -> list[str] | None:
    pretrained = getattr(model, "pretrained_cfg", {}).get("num_classes")
    subset = infer_imagenet_subset(model) if pretrained == model.num_classes else None
    return None if subset is None else list(ImageNetInfo(subset).label_descriptions())
