"""Try what runs a model on a few made-up images, with fresh weights and made-up inputs, to see how long it takes.

Jobs that are no passes name the function here that tries them. It gets a `Trial`, the settings of its jobs for one
model, and the numbers of evaluation and training images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from classlens.data.geometry import Size, sides
from classlens.data.pixels import pixel_columns
from classlens.hdf5 import Column, RowWriter
from classlens.inference.activations import residuals
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel
from classlens.inference.projection import Projection
from classlens.passes.base import Pass, Sums
from classlens.passes.head_words import OutputSums
from classlens.passes.randomisation import cascade, explained
from classlens.passes.run import run_images
from classlens.passes.sums import sum_images
from classlens.passes.tuned_lens import TunedLensSums
from classlens.probes.features import Features
from classlens.probes.fit import GIBIBYTE
from classlens.probes.plan import Part, bytes_per_token, plan
from classlens.probes.ridge import RidgeSums
from classlens.tuned_lens.held_out import HELD_OUT
from classlens.tuned_lens.ridge import AffineSums
from classlens.tuned_lens.steps import Descent

Settings = Mapping[str, Any]

TRIAL_IMAGES = 32


class Stage(NamedTuple):
    """Something that a run does with a number of images.

    Stages of the same name are added up; those of one model with an equal key take equally long per image.
    """

    name: str
    images: float
    run: Callable[[int], object]
    key: str


class Trial:
    """A model with made-up images, in a folder that goes afterwards.

    Args:
        loaded: the model.
        folder: for files.
        batch_size: images at once, at most.
        size: of an image.
    """

    def __init__(self, loaded: LoadedModel, folder: Path, batch_size: int, size: Size) -> None:
        self.loaded, self.batch_size, self._folder = loaded, batch_size, folder
        channels = loaded.normalise.stored
        self.pixels = np.random.default_rng(0).integers(0, 256, (TRIAL_IMAGES, *sides(size), channels), np.uint8)
        self.classes = np.zeros(TRIAL_IMAGES, np.int64)
        self._file = self._write("pixels", pixel_columns(size, loaded.model.num_classes, channels), pixels=self.pixels)

    def of_pass(
        self,
        of: type[Pass],
        sums: type[Sums] | None,
        inputs: Mapping[str, str | Sequence[str]],
        settings: Settings,
        images: int,
        key: str,
    ) -> Iterator[Stage]:
        """Yield what a pass does, given its files in a run; the sums that it needs before are not counted."""
        made_up = {name: self._made_up(of, name, files) for name, files in inputs.items() if name in of.inputs}
        before: dict[str, Any] = {"files": made_up} if of.inputs else {}
        with frozen_eval_mode(self.loaded.model):
            if sums:
                before["summed"] = sum_images(sums, self.loaded, self._file, range(1), self.batch_size)
            made = of(self.loaded, **before, **settings)
            written = str(self._folder / "rows.h5")

            def run(count: int) -> None:
                run_images(made, self._file, self.classes, range(count), made_up, written, self.batch_size)

            yield Stage(made.doing, images, run, key)

    def of_sums(self, of: type[Sums], settings: Settings, images: int, key: str) -> Iterator[Stage]:
        """Yield what sums over images take."""

        def run(count: int) -> None:
            sum_images(of, self.loaded, self._file, range(count), self.batch_size, **settings)

        with frozen_eval_mode(self.loaded.model):
            yield Stage(of.doing, images, run, key)

    def _made_up(self, of: type[Pass], name: str, files: str | Sequence[str]) -> str | list[str]:
        """Return as many files as a run has, with rows of zeros."""
        columns = of.reads(self.loaded.model).get(name)
        if columns is None:
            paths = [str(self._folder / f"{name}.h5")]
            of.stand_in(name, paths[0], self.loaded.model)
        else:
            number = 1 if isinstance(files, str) else len(files)
            paths = [self._write(f"{name}_{index}", columns) for index in range(number)]
        return paths[0] if isinstance(files, str) else paths

    def _write(self, name: str, columns: Mapping[str, Column], **rows: Any) -> str:
        """Write a file of rows, of zeros where none are given, and return its path."""
        path = str(self._folder / f"{name}.h5")
        zeros = {key: np.zeros((TRIAL_IMAGES, *one.shape), one.dtype) for key, one in columns.items()}
        with RowWriter(path, TRIAL_IMAGES, columns, self.loaded.attributes()) as writer:
            writer.append(zeros | rows)
        return path


def training(trial: Trial, jobs: Sequence[Settings], evaluation: int, images: int) -> Iterator[Stage]:
    """Yield the steps of training."""
    model = trial.loaded.model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)
    inputs, classes = trial.loaded.normalise(trial.pixels), torch.from_numpy(trial.classes).to(trial.loaded.device)

    def run(count: int) -> None:
        optimiser.zero_grad()
        cross_entropy(model(inputs[:count]), classes[:count]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    # Each epoch also looks at the evaluation images; forward is about a third of a step.
    for recipe in jobs:
        torch.set_num_threads(recipe["threads"])
        yield Stage("training", recipe["epochs"] * (images + evaluation / 3), run, "training")
    model.eval()


def randomised(trial: Trial, jobs: Sequence[Settings], _evaluation: int, _training: int) -> Iterator[Stage]:
    """Yield explanations by models with reset blocks; loading these is not counted."""
    times = len(cascade(len(trial.loaded.model.blocks))) + 1
    for job in jobs:

        def run(count: int, job: Settings = job) -> None:
            explained(trial.loaded, job["explain"], trial.pixels[:count], trial.classes[:count], trial.batch_size)

        yield Stage("explaining with blocks reset", len(job["images"]) * times, run, f"randomised {job['explain']}")


def linear_probes(trial: Trial, jobs: Sequence[Settings], evaluation: int, images: int) -> Iterator[Stage]:
    """Yield forward passes, sums and solutions of probes."""
    loaded, features = trial.loaded, Features(trial.loaded)
    depth, width, seen = len(loaded.model.blocks), loaded.model.embed_dim, loaded.model.num_classes
    room = bytes_per_token(width, seen, trial.batch_size)
    passes = ridges = 0.0
    for job in jobs:
        tokens = job["tokens"] or range(loaded.model.patch_embed.num_patches + loaded.model.num_prefix_tokens)
        groups = plan(job["probed"], list(tokens), room, int(job["memory_gib"] * GIBIBYTE))
        passes += sum(1 + max(part.block for part in parts) for parts in groups) / depth
        ridges += len(job["probed"]) * len(tokens)
    part = [Part("residual", depth - 1, (0,))]
    yield Stage(
        "linear probes", passes * (images + evaluation), lambda count: features(trial.pixels[:count], part), "probed"
    )
    [found] = features(trial.pixels, part)
    sums, labels = RidgeSums(1, width, seen, features.device), torch.from_numpy(trial.classes).to(features.device)

    def add(count: int) -> None:
        sums.add(found[:, :count], labels[:count])

    yield Stage("linear probes", ridges * images, add, "ridge sums")

    def solve(count: int) -> None:
        for _ in range(count):
            ridge = RidgeSums(1, width, seen, features.device)
            ridge.add(found, labels)
            ridge.solve(1.0)

    yield Stage("linear probes", ridges, solve, "ridge solutions")


def head_spans(trial: Trial, _jobs: Sequence[Settings], evaluation: int, _training: int) -> Iterator[Stage]:
    """Yield what reading what heads write takes, in one job or in those of shards."""
    yield from trial.of_sums(OutputSums, {}, evaluation, "sums of heads")


def repair(trial: Trial, jobs: Sequence[Settings], evaluation: int, _training: int) -> Iterator[Stage]:
    """Yield what trying each head takes, half of the blocks for half of the images, as often as heads are replaced."""
    model = trial.loaded.model
    inputs = trial.loaded.normalise(trial.pixels)

    def answer(count: int) -> None:
        with torch.inference_mode(), trial.loaded.autocast():
            model(inputs[:count])

    for job in jobs:
        tries = (job["heads"] + 1) * len(model.blocks) * model.blocks[0].attn.num_heads
        yield Stage("trying heads", tries * evaluation / 4, answer, "answers")


def tuned_lens(trial: Trial, jobs: Sequence[Settings], _evaluation: int, images: int) -> Iterator[Stage]:
    """Yield what fitting a tuned lens takes."""
    loaded, model, project = trial.loaded, trial.loaded.model, Projection(trial.loaded.model)
    if len(model.blocks) == 1:
        return
    inputs, sums = loaded.normalise(trial.pixels), AffineSums.of(loaded)
    with frozen_eval_mode(model):
        for recipe in jobs:
            yield from trial.of_sums(TunedLensSums, {"seed": recipe["seed"]}, images, "sums of the lens")
            with torch.no_grad(), loaded.autocast():
                sums.add([one.to(sums.device) for one in residuals(model, inputs)])
            descent = Descent(loaded, *sums.solve(recipe["penalty"]), recipe["learning_rate"])

            def step(count: int, descent: Descent = descent) -> None:
                descent.gradients(inputs[:count], count)

            yield Stage("tuning the lens", recipe["steps"] * recipe["images_per_step"], step, "steps")

    def see(count: int) -> None:
        with torch.no_grad(), loaded.autocast():
            for tokens in residuals(model, inputs[:count]):
                project(tokens).log_softmax(-1)

    # Three maps on held-out training images.
    yield Stage("choosing the tuned lens", 3 * images / HELD_OUT, see, "choosing")
