"""A model with canonical weights on its device, ready for stored images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np
import torch

from classlens.arrays import Array
from classlens.classes import output_indices
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.inference.probe import behaviour
from classlens.models.canonical import load_model
from classlens.models.device import autocast, choose_device, device_name
from classlens.models.inputs import Normalise


class Network(TypedDict):
    """Keywords that every computation on stored images takes.

    Keys:
        architecture, options: what the canonical weights belong to.
        mean, std: normalisation per channel.
        precision: see `autocast`.
        threads: CPU threads.
        device: see `choose_device`.
    """

    architecture: str
    options: Mapping[str, Any]
    mean: Sequence[float]
    std: Sequence[float]
    precision: str
    threads: int
    device: NotRequired[str]


@dataclass(frozen=True)
class LoadedModel:
    """A model on its device, in evaluation mode, with what makes its inputs of stored pixels."""

    model: Any
    architecture: str
    normalise: Normalise
    precision: str
    device: torch.device

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of a forward pass."""
        return autocast(self.device, self.precision)

    def attributes(self) -> dict[str, Any]:
        """Return the facts that readers of a file with a value per token need."""
        return {
            "num_classes": self.model.num_classes,
            "num_prefix_tokens": self.model.num_prefix_tokens,
            "has_class_token": self.model.cls_token is not None,
        }

    def provenance(self) -> dict[str, Any]:
        """Return where it ran."""
        return {"device": device_name(self.device)}


def load_network(weights: str, **network: Unpack[Network]) -> LoadedModel:
    """Load a model from its canonical weights, set the number of CPU threads, and see what the model does.

    Raises:
        InputError: what is read of its tokens is not what it reads itself, see `probe.behaviour`.
    """
    torch.set_num_threads(network["threads"])
    device = choose_device(network.get("device", "auto"))
    model = load_model(weights, network["architecture"], network["options"]).to(device)
    behaviour(model)
    normalise = Normalise(network["mean"], network["std"], device)
    return LoadedModel(model, network["architecture"], normalise, network["precision"], device)


def take_network(given: dict[str, Any]) -> Network:
    """Take the keywords of `Network` out of those that a job is given."""
    return {key: given.pop(key) for key in Network.__annotations__ if key in given}  # type: ignore[return-value]


def read_classes(pixels: str, num_classes: int) -> Array:
    """Return the correct class (N) of every image of a pixel file; zeros where the model puts out a score.

    Raises:
        InputError: a class is none of the model's C.
    """
    with h5py.File(pixels) as images:
        found = np.asarray(images["class_index"][:], dtype=np.int64)
    try:
        return output_indices(found, num_classes)
    except InputError as error:
        raise InputError(f"{pixels}: {error}") from None
