"""Write the lens page of a model from its result files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from classlens.arrays import Array
from classlens.batching import batches
from classlens.data.stimulus import class_names, read_rows, read_stimuli
from classlens.errors import InputError
from classlens.h5 import h5py
from classlens.measures.layers import read_layout
from classlens.page.document import Shown, document
from classlens.page.pack import rounded
from classlens.photos import as_colours
from classlens.terms import SITES

BATCH = 16
"""Images in memory at once."""


def write_lens_page(
    *,
    layers: Sequence[str],
    output: str,
    pixels: str,
    stimuli: str,
    labels: Sequence[str],
    explanations: Sequence[str],
    tuned: Sequence[str] = (),
    certificate: Sequence[str] = (),
    words: Sequence[str] = (),
    template: str,
    style: str,
    scripts: Sequence[str],
    page: str,
    images: int,
    seed: int,
    methods: Sequence[Sequence[str]],
    facts: Mapping[str, Any],
) -> None:
    """Write the page: one HTML file that asks for nothing else.

    Args:
        layers: the model's layer files in block order.
        output: its output file.
        pixels: pixel file of the evaluation images, for the photos.
        stimuli: stimuli.csv.
        labels: its file of token labels, or nothing where the data set has no masks.
        explanations: its explanation files.
        tuned: its files of the tuned lens in block order; none make a page without the switch between lenses.
        certificate: that a model of another library computes the same, or nothing.
        words: the words of its heads (results/MODEL/words/heads.csv), or nothing.
        template, style, scripts: sources of the page.
        page: the file to write.
        images: how many images to show, see `even_sample`.
        seed: of their choice.
        methods: name and label of each explanation.
        facts: what the page says of the model as it is: `model`, `label`, `dataset`, `grid` (rows and columns of image
            tokens), `prefix` (names of the other tokens), `notes` (what it cannot show), `others` (models on the same
            data set, each with name and label).

    Raises:
        InputError: a file has a value that cannot be shown; the message names it.
    """
    with h5py.File(output) as file:
        class_index = file["class_index"][:]
    chosen = even_sample(class_index, images, seed)
    shown = (
        one
        for part in batches(len(chosen), BATCH)
        for one in _shown(chosen[part], layers, pixels, labels, explanations, tuned)
    )
    certificates = [json.loads(Path(path).read_text()) for path in certificate]
    about = {
        **facts,
        "notes": [*facts["notes"], *(f"A model of {one['library']}: {one['text']}." for one in certificates)],
        "methods": [{"name": name, "label": label} for name, label in methods],
        "sites": SITES,
        "blocks": len(layers),
        "num_classes": read_layout(layers[0]).num_classes,
        "classes": class_names(stimuli),
        "sample": {"of": len(class_index), "classes": len(np.unique(class_index)), "seed": seed},
        "heads": [names for path in words for names in _names_of_heads(path)],
        "images": _described(chosen, output, stimuli),
    }
    with open(page, "w", newline="\n") as file:
        file.writelines(document(about, shown, template=template, style=style, scripts=scripts))


def even_sample(class_index: Array, count: int, seed: int) -> Array:
    """Choose images evenly over classes.

    Every class gives one image before any gives a second; which images, and which classes where there are more of them
    than images are wanted, is drawn. It depends on nothing but the arguments, so all models of a data set show the same
    images.

    Args:
        class_index: (N), class of each image.
        count: images to choose; all are taken where there are no more.
        seed: of the draw.

    Returns:
        (min(count, N)), image numbers in ascending order.
    """
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(len(class_index))
    by_class = shuffled[np.argsort(class_index[shuffled], kind="stable")]
    _, starts, sizes = np.unique(class_index[by_class], return_index=True, return_counts=True)
    turn = np.arange(len(by_class)) - np.repeat(starts, sizes)
    order_of_classes = np.repeat(draw.permutation(len(sizes)), sizes)
    chosen: Array = np.sort(by_class[np.lexsort((order_of_classes, turn))][:count])
    return chosen


def _shown(
    images: Array,
    layers: Sequence[str],
    pixels: str,
    labels: Sequence[str],
    explanations: Sequence[str],
    tuned: Sequence[str],
) -> Iterator[Shown]:
    """Yield what the page holds of some images."""
    names = ("rank", "top5", "logit")
    of_sites = _over_blocks(layers, [f"{site}/{name}" for name in names for site in SITES], images)
    found = {name: np.stack([of_sites[f"{site}/{name}"] for site in SITES], axis=1) for name in names}
    of_lens = _over_blocks(tuned, ("rank", "top5"), images) if tuned else {}
    with ExitStack() as files:
        importance = [
            _finite(_rows(files.enter_context(h5py.File(path))["importance"], images), path) for path in explanations
        ]
        label = [_rows(files.enter_context(h5py.File(path))["label"], images) for path in labels]
        photos = _rows(files.enter_context(h5py.File(pixels))["pixels"], images)
    for place, image in enumerate(images):
        arrays = {name: values[place] for name, values in found.items()}
        arrays["logit"], arrays["logit_unit"] = rounded(arrays["logit"], (1,))
        arrays |= {f"tuned_{name}": values[place] for name, values in of_lens.items()}
        if importance:
            arrays["importance"], _ = rounded(np.array([values[place] for values in importance]), (1,))
        if label:
            arrays["label"] = label[0][place]
        yield int(image), arrays, as_colours(photos[place])


def _over_blocks(paths: Sequence[str], names: Sequence[str], images: Array) -> dict[str, Array]:
    """Return rows of each block's file by image, token, block (and place).

    A token keeps its classes over blocks, so that neighbours are alike.
    """
    found: dict[str, list[Array]] = {name: [] for name in names}
    for path in paths:
        with h5py.File(path) as file:
            for name, parts in found.items():
                parts.append(_rows(file[name], images))
    return {name: np.moveaxis(np.array(parts), 0, 2) for name, parts in found.items()}


def _rows(dataset: Any, images: Array) -> Array:
    # One by one: the library keeps the chunk that neighbours share, and reads lists of rows slowly.
    return np.array([dataset[int(image)] for image in images])


def _finite(values: Array, path: str) -> Array:
    if not np.isfinite(values).all():
        raise InputError(f"{path}: importance has values that are not finite; compute it again")
    return values


def _names_of_heads(words: str) -> list[list[tuple[str, float] | None]]:
    """Return by block and head what it is named by and the share that this explains, None where it has no name."""
    found = {(int(row["block"]), int(row["head"])): row for row in read_rows(words) if row["place"] == "1"}
    blocks, heads = (1 + max((place[axis] for place in found), default=-1) for axis in (0, 1))
    named = {place: (row["name"], float(row["share"])) for place, row in found.items() if row["name"]}
    return [[named.get((block, head)) for head in range(heads)] for block in range(blocks)]


def _described(chosen: Array, output: str, stimuli: str) -> list[dict[str, Any]]:
    """Return number, class, file, verdict and the model's strongest classes of each image."""
    files = [item.file for item in read_stimuli(stimuli, "evaluation")]
    with h5py.File(output) as file:
        return [
            {
                "image": int(image),
                "file": files[image],
                "class": int(file["class_index"][image]),
                "correct": bool(file["correct"][image]),
                "top5": file["top5"][image].tolist(),
            }
            for image in chosen
        ]
