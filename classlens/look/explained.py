"""Explanations of pictures in a folder: overlays, maps, and a table of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from classlens.batching import batches
from classlens.catalog.methods import require_method
from classlens.csvfile import write_table
from classlens.errors import InputError
from classlens.explanations.explain import explain_inputs, model_name
from classlens.inference.batches import collect
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.probe import behaviour, image_parameter
from classlens.lens.classes import Class
from classlens.lens.lens import Lens
from classlens.lens.view import CLASS_FREE
from classlens.models.build import has_head
from classlens.models.needs import lacks
from classlens.models.pictures import as_inputs
from classlens.progress import Progress

BATCH = 16
"""Pictures in memory at once."""


def write_explanations(
    lens: Lens, pictures: Sequence[Path], method: str, output: Path, chosen: Class | None = None
) -> None:
    """Write the explanation of each picture, and `explanations.csv`; all of them, or nothing.

    Args:
        lens: on the model.
        pictures: files.
        method: see `View.explain`.
        output: the folder to write to. Files: `STEM_METHOD.png` (overlay) and `.npy` (rows, columns), numbered where
            pictures share a stem. Columns of the table: picture, class_index, class, probability (softmax of the
            output; empty where the model has no classes), method, file, map.
        chosen: the class; None: what the model predicts for each.

    Raises:
        InputError: the method does not apply, there is no such class, or a picture cannot be read.
    """
    model, classes = lens.model, lens.classes
    require_method(method, model_name(model), lacks(model))
    has_classes = has_head(model)
    if chosen is not None or method not in CLASS_FREE:
        classes.require("explanations of classes")
    given = None if chosen is None else classes.indices(chosen, 1)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; name a folder to write to")
    names = _names(pictures, method)
    rows: list[tuple[int, str, float]] = []
    there = next(place for place in (output, *output.absolute().parents) if place.is_dir())
    with tempfile.TemporaryDirectory(dir=there, prefix=".explain-") as made:
        with Progress(len(pictures), "explaining", unit="picture") as progress:
            for part in batches(len(pictures), BATCH):
                inputs = as_inputs(model, pictures[part], behaviour(model).channels)
                logits = _output(model, inputs) if has_classes else torch.zeros(len(inputs), 1)
                indices = logits.argmax(1).numpy() if given is None else given.repeat(len(inputs))
                found = explain_inputs(model, inputs, indices, method, first=part.start, batch_size=BATCH)
                for one, picture, name in zip(found, pictures[part], names[part], strict=True):
                    one.save(Path(made, f"{name}.png"), picture)
                    one.save(Path(made, f"{name}.npy"))
                    progress.advance()
                if has_classes:
                    probabilities = logits.softmax(1).numpy()[np.arange(len(indices)), indices]
                    rows += zip(indices, map(classes.label, indices), probabilities, strict=True)
        table = pd.DataFrame(rows or None, columns=["class_index", "class", "probability"], index=range(len(pictures)))
        table.insert(0, "picture", list(map(str, pictures)))
        table["method"], table["file"] = method, [f"{name}.png" for name in names]
        table["map"] = [f"{name}.npy" for name in names]
        write_table(table, str(Path(made, "explanations.csv")))
        output.mkdir(parents=True, exist_ok=True)
        for file in Path(made).iterdir():
            file.replace(output / file.name)


def _output(model: object, inputs: torch.Tensor) -> torch.Tensor:
    """Return the model's output (n, C) float32 on the CPU."""

    def run(part: slice) -> torch.Tensor:
        output: torch.Tensor = model(inputs[part].to(image_parameter(model)))  # type: ignore[operator]
        return output.float().cpu()

    with torch.no_grad(), frozen_eval_mode(model):
        return torch.cat(collect(len(inputs), BATCH, run))


def _names(pictures: Sequence[Path], method: str) -> list[str]:
    """Return how the files of each picture begin; no two are alike, even where case does not count."""
    names: list[str] = []
    taken: set[str] = set()
    for picture in pictures:
        tries = (f"{picture.stem}_{number}" for number in range(2, len(pictures) + 2))
        stem = next(stem for stem in (picture.stem, *tries) if stem.casefold() not in taken)
        taken.add(stem.casefold())
        names.append(f"{stem}_{method}")
    return names
