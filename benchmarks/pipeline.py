"""Extraction and gathering with a model that costs nothing: what reading, packing and writing leave of a fast GPU.

    python benchmarks/pipeline.py [--images 20480] [--shard 10240] [--threads 2] [--turns 3]

The outputs of a chunk's images are ready-made, with the sizes and the spread of ViT-B's: what a network with random
weights makes of images in which patches resemble each other. Prints the images per second of each turn, then a line per
architecture with the median, and what a bare copy of the same bytes reaches in the same turns; of extraction the
processor time, too, which other programs on the machine disturb less.
"""

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from classlens.hdf5 import chunk_rows_of
from classlens.inference.network import LoadedModel
from classlens.models.build import build
from classlens.models.inputs import Normalise
from classlens.passes.base import Part
from classlens.passes.extraction import Extraction
from classlens.passes.gather import gather
from classlens.passes.run import run_images

ARCHITECTURES = {"ViT-B/16": "vit_base_patch16_224", "ViT-B/32": "vit_base_patch32_224"}
BATCH = 64
HALF = [0.5, 0.5, 0.5]


class FreeModel(Extraction):
    """Extraction whose network costs nothing: what the real one kept of a chunk's images, again and again."""

    def __init__(self, model, random):
        super().__init__(LoadedModel(model, "", torch.from_numpy, "float32", torch.device("cpu")))
        chunk = chunk_rows_of(self.written())  # of which no two rows may be equal: they would pack too well
        normalise, part = Normalise(HALF, HALF, self.loaded.device), Part(0, {})
        self._kept = itertools.cycle(
            [
                super(FreeModel, self).__call__(
                    normalise(smooth_images(random, BATCH)), torch.from_numpy(random.integers(0, 1000, BATCH)), part
                )
                for _ in range(0, chunk, BATCH)
            ]
        )

    def __call__(self, images, classes, part):
        assert len(images) == len(classes) == BATCH
        return next(self._kept)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=20480)
    options.add_argument("--shard", type=int, default=10240)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--turns", type=int, default=3)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    for label, architecture in ARCHITECTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            measure(label, architecture, Path(folder), given)


def measure(label: str, architecture: str, folder: Path, given: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = build(architecture, {})
    torch.nn.init.normal_(model.head.weight, std=0.02)
    random = np.random.default_rng(0)
    images = smooth_images(random, BATCH)
    classes = random.integers(0, 1000, given.images)
    free = FreeModel(model, random)
    pixels = folder / "pixels.h5"
    with h5py.File(pixels, "w") as file:
        stored = file.create_dataset("pixels", (given.images, 224, 224, 3), np.uint8, chunks=(6, 224, 224, 3))
        for start in range(0, given.images, BATCH):
            stored[start : start + BATCH] = images
        file["class_index"] = classes.astype(np.uint16)
    layers = [str(folder / f"block_{block:02d}.h5") for block in range(len(model.blocks))]
    shards = [str(folder / f"shard_{start}.h5") for start in range(0, given.images, given.shard)]
    rates: dict[str, list[float]] = {"extraction": [], "gathering": [], "bare copy": []}
    processor = []
    for turn in range(given.turns):
        before = time.process_time()
        extraction = seconds(extract, free, pixels, classes, shards, given)
        processor.append((time.process_time() - before) / given.images)
        took = {
            "extraction": extraction,
            "gathering": seconds(gather, shards, layers, str(folder / "output.h5"), threads=given.threads),
            "bare copy": seconds(copy, shards, folder),
        }
        for name, duration in took.items():
            rates[name].append(given.images / duration)
        print(f"turn {turn}: " + ", ".join(f"{name} {values[-1]:.0f} images/s" for name, values in rates.items()))
    size = sum(Path(shard).stat().st_size for shard in shards) / given.images
    reached = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{label}: {size / 1000:.1f} kB per image; a bare copy of the files {reached['bare copy']:.0f} images/s")
    print(f"{label}: extraction takes {statistics.median(processor) * 1e6:.0f} us of a core per image")
    print(f"{label}: extraction {reached['extraction']:.0f} images/s, gathering {reached['gathering']:.0f} images/s")


def smooth_images(random: np.random.Generator, count: int) -> np.ndarray:
    coarse = random.integers(0, 128, (count, 7, 7, 3), np.uint8)
    return coarse.repeat(32, 1).repeat(32, 2) + random.integers(0, 128, (count, 224, 224, 3), np.uint8)


def extract(free: FreeModel, pixels: Path, classes: np.ndarray, shards: list[str], given: argparse.Namespace) -> None:
    for number, shard in enumerate(shards):
        start = number * given.shard
        numbers = range(start, min(start + given.shard, given.images))
        run_images(free, str(pixels), classes, numbers, {}, shard, BATCH)


def copy(shards: list[str], folder: Path) -> None:
    for shard in shards:
        shutil.copyfile(shard, folder / "copy")


def seconds(function: object, *arguments: object, **keywords: object) -> float:
    start = time.perf_counter()
    function(*arguments, **keywords)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
