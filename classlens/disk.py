"""What results take on disk: the files that `all` makes of a config, by the columns that passes and jobs declare.

Counted are files with a row per image or training image, weights, and projected memories; tables, figures and pages,
whose size hardly follows from the config, are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from classlens.attribution.words import MOST_AXES
from classlens.catalog import files
from classlens.catalog.rules import pass_of
from classlens.catalog.settings import randomised_images, settings_of
from classlens.catalog.wanted import WantedJob, wanted_files
from classlens.config import Config
from classlens.config.architecture import built_as
from classlens.data.labels import label_columns
from classlens.data.pixels import mask_columns, pixel_chunk_rows, pixel_columns
from classlens.declared import load
from classlens.extraction.files import layer_columns, output_columns
from classlens.hdf5 import CHUNK_ROWS, Column, chunk_rows_of
from classlens.inference.activations import key_counts
from classlens.measures.block_memories import agreement_columns
from classlens.models.build import build
from classlens.passes.base import Pass
from classlens.passes.randomisation import cascade
from classlens.passes.removal_curves import share_columns
from classlens.passes.tuned_lens import seen_columns
from classlens.probes.files import probe_columns
from classlens.terms import BRANCHES, TOP

PER_FILE, PER_DATA_SET = 5_000, 3_700
"""Bytes of HDF5's own in a file, and of each data set in it."""
PACKED = {"f": 0.95, "i": 0.65, "u": 0.65, "b": 0.1}
"""Share that packing leaves of floats (whose mantissas are noise), of indices and of booleans, measured on ViT-B/16."""
SHARES = 0.1
"""The same of masks, and of shares of orders or pixels, nearly all of which are 0 or 1."""
FLOAT = 4
"""Bytes of a float32."""


class Size(NamedTuple):
    """Bytes of results, and of what the store keeps beside them until `classlens store gc`."""

    results: float
    shards: float


def disk_size(config: Config) -> Size:
    """Return what the files take that `all` makes.

    Args:
        config: with the facts about architectures.
    """
    sizes = file_sizes(config)
    # Of data sets that are taken in shards, so are other files; these are the largest, and always are.
    layers = sum(size for path, size in sizes.items() if re.search(r"/(layers/|output\.h5)", path))
    return Size(sum(sizes.values()), layers)


def file_sizes(config: Config) -> dict[str, float]:
    """Return the bytes of each file that `all` makes, 0 of those that are not counted."""
    wanted = {path: job for path, job in wanted_files(config).items() if not (job and job[0].temporary)}
    sizes = dict.fromkeys(wanted, 0.0)
    for name in config.models:
        model = build(*built_as(config, name), device="meta")
        for path, job in wanted.items():
            if path.startswith(f"results/{name}/"):
                sizes[path] = _of_model(config, name, model, path.removeprefix(f"results/{name}/"), job)
            elif path in (files.EVALUATION(config, {"model": name}), files.TRAINING(config, {"model": name})):
                sizes[path] = _pixels(config, name, path)
            elif path == files.PIXEL_MASKS(config, {"model": name}):
                masks = mask_columns(config.geometry(name).size)
                sizes[path] = _rows(masks, config.images(config.models[name]["dataset"]), share=SHARES)
    return sizes


def columns_of(config: Config, job: WantedJob, model: Any) -> dict[str, Column] | None:
    """Return the columns of the rows that a pass writes; None of another job.

    Args:
        config: the config.
        job: one of a pass's, also one that joins its shards.
        model: that it runs; its parameters may be on the device "meta".
    """
    one, wildcards = job
    declared = pass_of(one)
    if declared is None:
        return None
    code: type[Pass] = load(declared.code)
    return code.columns(model, **settings_of((*declared.settings, *declared.plugins), config, wildcards))


def _pixels(config: Config, name: str, path: str) -> float:
    dataset, size = config.models[name]["dataset"], config.geometry(name).size
    split = path.rpartition("/")[2].removesuffix(".h5")
    channels = config.datasets[dataset]["channels"] or 3
    columns = pixel_columns(size, config.classes(dataset), channels)
    return _rows(columns, config.images(dataset, split), pixel_chunk_rows(size, channels))


def _of_model(config: Config, name: str, model: Any, path: str, job: WantedJob | None) -> float:
    """Return the bytes of a file of a model; 0 of one that is not counted.

    Args:
        config: the config.
        name: of the model.
        model: itself, without values.
        path: below the model's folder.
        job: that makes it.
    """
    facts, images = config.architecture(name), config.images(config.models[name]["dataset"])
    tokens, classes, depth, width = facts["tokens"], facts["num_classes"], facts["depth"], facts["width"]
    patches = tokens - facts["num_prefix_tokens"]
    rows = columns_of(config, job, model) if job else None
    if rows is not None:
        if not path.startswith("faithfulness/"):
            return _rows(rows, images)
        if path.endswith(".csv"):
            return 0.0
        return _rows(share_columns(next(iter(rows.values())).shape[1]), images, share=SHARES)

    def layers() -> float:
        columns = layer_columns(tokens, classes, key_counts(model))
        return _rows(columns, images, chunk_rows_of(columns))

    def tuned_lens() -> float:
        return _rows(seen_columns(tokens, classes), images) + FLOAT * (width * width + width)

    def spans() -> float:
        return FLOAT * width * (depth * min(width, MOST_AXES * facts["heads"]) + classes)

    def randomised() -> float:
        some = randomised_images(config, {"model": name})["images"]
        return PER_FILE + len(some) * FLOAT * patches * (len(cascade(depth)) + 1)

    def parameters() -> float:
        counts = key_counts(model)
        per_class, per_memory = FLOAT + 2 * TOP, (FLOAT + 2) * min(TOP, classes)
        of_block = sum(classes * per_class + counts[branch] * per_memory + 4 * PER_DATA_SET for branch in BRANCHES)
        return PER_FILE + depth * of_block

    def weights() -> float:
        return float(sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()))

    def probes() -> float:
        columns = probe_columns(tokens, classes, "", everywhere=config.probes["tokens"] is None)
        return _rows(columns, images) + PER_DATA_SET  # with the accuracy of tokens

    kinds: Mapping[str, Callable[[], float]] = {
        r"layers/": layers,
        r"output\.h5": lambda: _rows(output_columns(classes), images),
        r"weights\.": weights,
        r"token_labels": lambda: _rows(label_columns(patches), images),
        r"memories/(attn|mlp)/": lambda: _rows(agreement_columns(tokens), images),
        r"memories/parameters": parameters,
        r"explanation/": lambda: _rows({"importance": Column((patches,), np.float32, "")}, images),
        r"randomisation/": randomised,
        r"probes/": probes,
        r"tuned_lens/": tuned_lens,
        r"words/.*h5": spans,
    }
    return next((size() for pattern, size in kinds.items() if re.match(pattern, path)), 0.0)


def _rows(
    columns: Mapping[str, Column], rows: int, chunk_rows: int = CHUNK_ROWS, *, share: float | None = None
) -> float:
    """Return the bytes of a file with a row per image.

    Args:
        columns: its data sets; those that are not packed fill whole chunks.
        rows: images.
        chunk_rows: images in a chunk, at most.
        share: that packing leaves; None: that of the type.
    """
    chunk = max(1, min(chunk_rows, rows))
    whole, size = -(-rows // chunk) * chunk, float(PER_FILE)
    for column in columns.values():
        dtype = np.dtype(column.dtype)
        left = share or PACKED[dtype.kind]
        if dtype.itemsize > 1 and share is None and chunk * prod(column.shape) % 8:
            left = 1  # Blosc shuffles no bits of a chunk that is no multiple of eight numbers
        size += PER_DATA_SET + dtype.itemsize * prod(column.shape) * (left * rows if column.compress else whole)
    return size
