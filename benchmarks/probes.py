"""Probes of one layer against bare forward passes plus bare linear algebra, in turns, on the CPU.

    python benchmarks/probes.py [--architecture vit_base_patch32_224] [--training 1000] [--images 500] [--turns 3]

Weights and images are random; every one of the 1000 classes has training images. The limit is timm's forward pass over
all training and evaluation images, plus the products, factors and solutions in float64 that no ridge can do without,
on features that lie in memory. Also prints peak memory for two numbers of images, and for a limit that makes groups.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from classlens.models.build import build
from classlens.models.canonical import save_weights
from classlens.probes.fit import linear_probe

HALF = [0.5, 0.5, 0.5]
CLASSES = 1000
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--architecture", default="vit_base_patch32_224")
    options.add_argument("--training", type=int, default=1000)
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--sites", nargs="+", default=["residual"])
    options.add_argument("--memory", type=float, default=4.0)
    options.add_argument("--peak", action="store_true", help="measure peak memory only")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu where other work shares the machine")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        model = build(given.architecture, {})
        save_weights(model, folder / "weights.safetensors", described_as="random weights")
        if given.peak:
            for training, memory in ((1024, given.memory), (2048, given.memory), (1024, given.memory / 16)):
                peak = peak_of(given, folder, training, memory)
                print(f"peak memory, {training:5d} training images, limit {memory:4.2f} GiB: {peak:6.0f} MiB")
        else:
            compare(given, model, folder)


def compare(given: argparse.Namespace, model: torch.nn.Module, folder: Path) -> None:
    training, evaluation = make_images(folder, "training", given.training), make_images(folder, "eval", given.images)
    last = len(model.blocks) - 1
    probes = [(site, last) for site in given.sites]
    images = torch.randn(given.batch, 3, 224, 224)
    tokens = model.patch_embed.num_patches + model.num_prefix_tokens
    bare_forward(model, images, given.batch)
    ratios, rows, clock = [], [], CLOCKS[given.clock]
    for turn in range(given.turns):
        forward = seconds(clock, lambda: bare_forward(model, images, given.training + given.images))
        algebra = seconds(clock, lambda: bare_algebra(given, tokens, model.embed_dim))
        ours = seconds(clock, lambda: run(given, folder, training, evaluation, probes, given.memory))
        rows.append((forward, algebra, ours))
        ratios.append(ours / (forward + algebra))
        print(
            f"turn {turn}: forward {forward:6.2f} s, algebra {algebra:6.2f} s, probes {ours:6.2f} s, "
            f"ratio {ratios[-1]:.3f}"
        )
    medians = [statistics.median(values) for values in zip(*rows, strict=True)]
    print(
        f"{given.architecture}, {' '.join(given.sites)} of one block, {tokens} tokens, {CLASSES} classes: medians: "
        f"forward {medians[0]:.2f} s, algebra {medians[1]:.2f} s, probes {medians[2]:.2f} s; "
        f"ratio {statistics.median(ratios):.3f}"
    )


def run(given, folder, training, evaluation, probes, memory):
    linear_probe(
        training,
        evaluation,
        folder / "weights.safetensors",
        [folder / f"{site}_{block:02d}.h5" for site, block in probes],
        architecture=given.architecture,
        options={},
        mean=HALF,
        std=HALF,
        precision="float32",
        probed=probes,
        tokens=None,
        penalty=1.0,
        batch_size=given.batch,
        threads=given.threads,
        memory_gib=memory,
        device="cpu",
    )


@torch.inference_mode()
def bare_forward(model: torch.nn.Module, images: torch.Tensor, count: int) -> None:
    for start in range(0, count, len(images)):
        model(images[: count - start])


@torch.inference_mode()
def bare_algebra(given: argparse.Namespace, tokens: int, width: int) -> None:
    """Gram matrices and class sums of the training images, solutions, and scores of the evaluation images."""
    features = torch.randn(tokens, given.batch, width, dtype=torch.float64)
    classes = torch.randint(CLASSES, (given.batch,))
    for _ in given.sites:
        gram = torch.zeros(tokens, width, width, dtype=torch.float64)
        sums = torch.zeros(tokens, CLASSES, width, dtype=torch.float64)
        for start in range(0, given.training, given.batch):
            batch = features[:, : given.training - start]
            gram.baddbmm_(batch.mT, batch)
            sums.index_add_(1, classes[: batch.shape[1]], batch)
        gram.diagonal(dim1=1, dim2=2).add_(1)
        for token in range(tokens):
            sums[token] = torch.cholesky_solve(sums[token].mT, torch.linalg.cholesky(gram[token])).mT
        for start in range(0, given.images, given.batch):
            batch = features[:, : given.images - start]
            for token in range(tokens):
                scores = batch[token] @ sums[token].mT
                (scores > scores[:, :1]).sum(-1), scores.argmax(-1)


def make_images(folder: Path, name: str, count: int) -> Path:
    path = folder / f"{name}_{count}.h5"
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        images = file.create_dataset("pixels", (count, 224, 224, 3), np.uint8, chunks=(1, 224, 224, 3))
        for index in range(count):
            images[index] = random.integers(0, 256, (224, 224, 3), np.uint8)
        file["class_index"] = (np.arange(count) % CLASSES).astype(np.uint16)
    return path


def seconds(clock: Callable[[], float], run: Callable[[], None]) -> float:
    start = clock()
    run()
    return clock() - start


def peak_of(given: argparse.Namespace, folder: Path, training: int, memory: float) -> float:
    """Return the peak resident memory of a process that fits the probes of one block, in MiB."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(run_once, (given, folder, training, memory))


def run_once(given: argparse.Namespace, folder: Path, training: int, memory: float) -> float:
    probes = [(site, 0) for site in given.sites]
    files = make_images(folder, "training", training), make_images(folder, "eval", given.batch)
    run(given, folder, *files, probes, memory)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
