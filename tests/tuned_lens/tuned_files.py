"""Training and evaluation images, a small model, and its tuned lens as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tiny_transformers import load_small, write_small

from classlens.passes.gather_tuned_lens import gather_tuned_lens
from classlens.passes.run import run_pass
from classlens.passes.sums import write_sums
from classlens.passes.tuned_lens import TunedLens, TunedLensSums
from classlens.passes.tuned_lens_fit import fit_tuned_lens

RECIPE = {"steps": 20, "images_per_step": 8, "learning_rate": 0.01, "penalty": 0.001, "seed": 3}


@dataclass
class Study:
    """A family's model with images to fit its tuned lens to."""

    folder: Path
    model: Any
    training: Path
    evaluation: Path
    weights: Path
    network: dict[str, Any]

    def fit(self, name="maps", summed=0, seen=None, **changes):
        """Fit a tuned lens and return its files; `changes` are to the recipe, the network or the images.

        `summed` and `seen` are images of a shard: of training images, for sums, and of evaluation images.
        """
        folder = self.folder / name
        folder.mkdir()
        paths = [str(folder / f"block_{block:02d}.h5") for block in range(len(self.model.blocks))]
        files = {"training": self.training, "evaluation": self.evaluation}
        given = {**files, **RECIPE, **self.network, **changes}
        given |= {key: str(given[key]) for key in files}
        evaluation, maps = given.pop("evaluation"), str(folder / "maps.h5")
        running = {"weights": str(self.weights), **{key: given[key] for key in self.network}}
        sums = self._shards(folder, given["training"], summed, "sums")
        for path, bounds in sums.items():
            write_sums(given["training"], shard=path, of=TunedLensSums, **bounds, seed=given["seed"], **running)
        fit_tuned_lens(weights=str(self.weights), shards=list(sums), maps=maps, **given)
        looks = self._shards(folder, evaluation, seen, "look")
        for path, bounds in looks.items():
            run_pass(evaluation, rows=path, of=TunedLens, maps=maps, **bounds, **running)
        gather_tuned_lens(list(looks), maps, paths)
        return paths

    @staticmethod
    def _shards(folder, pixels, size, name):
        """Return bounds by file, of all images where there is no size; nothing where it is 0."""
        with h5py.File(pixels) as file:
            images = len(file["pixels"])
        size = max(1, images) if size is None else size
        starts = range(0, images, size) if size else []
        return {
            str(folder / f"{name}_{start}.h5"): {"start": start, "stop": min(start + size, images)} for start in starts
        }

    def load(self):
        return load_small(str(self.weights), self.network)


def write_images(path, count, seed, classes=7):
    draw = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        # Blobs, so that images differ in more than noise.
        coarse = draw.integers(0, 256, (count, 4, 4, 3))
        file["pixels"] = np.repeat(np.repeat(coarse, 8, 1), 8, 2).astype(np.uint8)
        file["class_index"] = draw.integers(0, classes, count).astype(np.uint16)
    return path


def made(folder, family="plain", training=40, change=None):
    """Write the files of a study into an empty folder."""
    model, evaluation, weights, network = write_small(folder, family, [2, 3, 4, 5, 6], change)
    write_images(evaluation, 5, seed=6)
    fitted_to = write_images(folder / "training.h5", training, seed=5)
    return Study(folder, model, fitted_to, evaluation, weights, {**network, "batch_size": 16})
