"""Train a small model on a data set's training images, bit for bit the same on one machine."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from classlens.batching import batches
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.models.build import build
from classlens.models.canonical import save_weights
from classlens.models.device import choose_device, device_name
from classlens.models.inputs import Normalise
from classlens.models.parallel import canonical_form
from classlens.progress import Progress

EVALUATION_BATCH = 256

log = logging.getLogger(__name__)


def train(
    training: str,
    evaluation: str,
    weights: str | Sequence[str],
    history: str,
    *,
    architecture: str,
    options: Mapping[str, Any],
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    threads: int,
    kept: Sequence[int] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Train with AdamW under a one-cycle schedule and keep the weights of the last epoch, or of several.

    Args:
        training, evaluation: pixel files (`pixels`, `class_index`) of the two splits.
        weights: safetensors file to write, or one for each of the epochs in `kept`.
        history: CSV to write: epoch (from 1), training loss (nats), accuracy on the evaluation images (fraction).
        mean, std: normalisation per channel.
        threads: CPU threads; another number rounds sums differently.
        kept: epochs whose weights are kept; 0 is before training.

    Returns:
        provenance: the device.

    Raises:
        InputError: there are no training images, or training diverged.
    """
    target = choose_device(device)
    files: dict[int, Any] = dict(zip(kept, weights, strict=True)) if kept else {epochs: weights}

    def keep(epoch: int) -> None:
        if epoch in files:
            save_weights(model.eval(), files[epoch], described_as=f"the model after epoch {epoch}")

    with h5py.File(training) as learn, h5py.File(evaluation) as held_out, reproducible(seed, threads):
        if not len(learn["pixels"]):
            raise InputError("there are no training images; raise the data set's key `train_per_class`")
        model = canonical_form(build(architecture, options)).to(target)
        steps = epochs * -(-len(learn["pixels"]) // batch_size)
        optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
        normalise = Normalise(mean, std, target)
        shuffle = np.random.default_rng(seed)
        rows = []
        with Progress(steps, "training", "step") as progress:
            keep(0)
            for epoch in range(1, epochs + 1):
                loss = 0.0
                model.train()
                for images, classes in _shuffled(learn, batch_size, shuffle):
                    optimiser.zero_grad()
                    step = cross_entropy(model(normalise(images)), torch.from_numpy(classes).to(target))
                    step.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                    schedule.step()
                    loss += step.item() * len(classes)
                    progress.advance()
                loss /= len(learn["pixels"])
                if not np.isfinite(loss):
                    raise InputError(f"training diverged in epoch {epoch}; lower train.learning_rate")
                rows.append((epoch, f"{loss:.6f}", f"{_accuracy(model, held_out, normalise):.6f}"))
                log.info("epoch %d: loss %s, accuracy %s", *rows[-1])
                keep(epoch)
    with open(history, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("epoch", "training_loss", "accuracy"))
        writer.writerows(rows)
    return {"device": device_name(target)}


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Run with seeded generators, deterministic kernels and a fixed number of CPU threads."""
    before = torch.get_num_threads()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is about to be written takes a tenth of the time and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.set_num_threads(before)


def _shuffled(file: h5py.File, batch_size: int, shuffle: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    """Yield the images and classes of one epoch in random order, reading one batch at a time."""
    order = shuffle.permutation(len(file["pixels"]))
    for part in batches(len(order), batch_size):
        rows = np.sort(order[part])  # HDF5 reads rows in ascending order only
        yield file["pixels"][rows], file["class_index"][rows].astype(np.int64)


@torch.inference_mode()
def _accuracy(model: torch.nn.Module, file: h5py.File, normalise: Normalise) -> float:
    model.eval()
    right = 0
    for part in batches(len(file["pixels"]), EVALUATION_BATCH):
        predicted = model(normalise(file["pixels"][part])).argmax(-1).cpu().numpy()
        right += int((predicted == file["class_index"][part]).sum())
    return right / len(file["pixels"])
