"""Bring stored images and a model with canonical weights together, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import h5py
import numpy as np
import numpy.typing as npt
import torch

from classlens.errors import InputError
from classlens.extraction.files import layer_attributes
from classlens.models.device import autocast, choose_device, device_name, in_fitting_batches
from classlens.models.inputs import Normalise
from classlens.models.weights import load_model
from classlens.progress import Progress

Array = npt.NDArray[Any]


class Network(TypedDict):
    """Keywords that every computation on stored images takes.

    Keys:
        architecture, options: what the canonical weights belong to.
        mean, std: normalisation per channel.
        precision: float32, or the type that autocast may use.
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
class Loaded:
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
        return layer_attributes(self.model.num_classes, self.model.num_prefix_tokens, self.model.cls_token is not None)

    def provenance(self) -> dict[str, Any]:
        """Return where it ran."""
        return {"device": device_name(self.device)}


def load(weights: Path, network: Network) -> Loaded:
    """Load a model from its canonical weights."""
    torch.set_num_threads(network["threads"])
    device = choose_device(network.get("device", "auto"))
    model = load_model(weights, network["architecture"], network["options"]).to(device)
    normalise = Normalise(network["mean"], network["std"], device)
    return Loaded(model, network["architecture"], normalise, network["precision"], device)


def read_classes(pixels: Path, num_classes: int, classes: Sequence[int] | None = None) -> Array:
    """Return the class of interest of every stored image.

    Args:
        pixels: pixel file; its `class_index` has the correct classes.
        num_classes: C.
        classes: (N), other classes to ask about; None: the correct ones.

    Raises:
        InputError: a class is none of the model's, or there is not one for every image.
    """
    with h5py.File(pixels) as images:
        correct = np.asarray(images["class_index"][:], dtype=np.int64)
    chosen = correct if classes is None else np.asarray(classes, dtype=np.int64)
    if chosen.shape != correct.shape:
        raise InputError(f"{len(chosen)} classes were given for {len(correct)} images; give one for each")
    return check_classes(chosen, num_classes)


def check_classes(classes: Array, num_classes: int) -> Array:
    """Return the classes as they came.

    Raises:
        InputError: one of them is none of the model's.
    """
    outside = classes[(classes < 0) | (classes >= num_classes)]
    if outside.size:
        raise InputError(f"class {outside[0]} is none of the model's classes 0..{num_classes - 1}; give one of these")
    return classes


def over_images(loaded: Loaded, pixels: Path, batch_size: int, what: str, run: Callable[..., None]) -> None:
    """Call `run(images, part)` on all stored images in order; batches are halved when memory runs out.

    Args:
        loaded: whose inputs the images become, (n, 3, H, W).
        pixels: pixel file.
        batch_size: images per call, at most.
        what: for the progress report.
        run: must have no effect when it raises.
    """
    with h5py.File(pixels) as images:
        total = len(images["pixels"])
        with Progress(total, what) as progress:

            def one(part: slice) -> None:
                run(loaded.normalise(images["pixels"][part]), part)
                progress.advance(part.stop - part.start)

            in_fitting_batches(total, batch_size, one)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put a model in evaluation mode and let no gradient reach its parameters; afterwards it is as it was.

    Gradients are only ever wanted of activations; without those of parameters half of the memory suffices.
    """
    parameters = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in parameters:
            parameter.requires_grad_(flag)
        for module, mode in modes:
            module.training = mode
