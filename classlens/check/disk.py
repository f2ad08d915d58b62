"""What results take on disk: the files that `all` makes of a config, by the columns that passes and jobs declare.

Counted are files with a row per image or training image, weights, and projected memories; tables, figures and pages,
whose size hardly follows from the config, are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Any

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
from classlens.passes.randomisation import cascade
from classlens.passes.removal_curves import share_columns
from classlens.passes.tuned_lens import seen_columns
from classlens.probes.files import probe_columns
from classlens.terms import BRANCHES, TOP
from classlens.units import written_size

PER_FILE, PER_DATA_SET = 5_000, 3_700
"""Bytes of HDF5's own in a file, and of each data set in it."""
PACKED = {"f": 0.95, "i": 0.65, "u": 0.65, "b": 0.1}
"""Share that packing leaves of floats (whose mantissas are noise), of indices and of booleans, measured on ViT-B/16."""
SHARES = 0.1
"""The same of masks, and of shares of orders or pixels, nearly all of which are 0 or 1."""
FLOAT = 4
"""Bytes of a float32."""


def disk_note(config: Config) -> str:
    """Say what results take, and what the store keeps beside them, for a config with the facts about architectures."""
    sizes = file_sizes(config)
    # Of data sets that are taken in shards, so are other files; these are the largest, and always are.
    shards = sum(size for path, size in sizes.items() if re.search(r"/(layers/|output\.h5)", path))
    return (
        f"disk: about {written_size(sum(sizes.values()))} under results/, which the store shares where it can link, "
        f"and {written_size(shards)} more in the store until `classlens store gc`; not counted are tables, figures and "
        f"pages"
    )


def file_sizes(config: Config) -> dict[str, float]:
    """Return the bytes of each file that `all` makes, 0 of those that are not counted."""
    wanted = {path: job for path, job in wanted_files(config).items() if not (job and job[0].temporary)}
    sizes = dict.fromkeys(wanted, 0.0)
    for name in config.models:
        model = build(*built_as(config, name), device="meta")
        dataset, size = config.models[name]["dataset"], config.geometry(name).size
        channels = config.datasets[dataset]["channels"] or 3
        pixels, chunk = pixel_columns(size, config.classes(dataset), channels), pixel_chunk_rows(size, channels)
        evaluation, training, masks = (
            of(config, {"model": name}) for of in (files.EVALUATION, files.TRAINING, files.PIXEL_MASKS)
        )
        for path, job in wanted.items():
            if path.startswith(f"results/{name}/"):
                sizes[path] = _of_model(config, name, model, path.removeprefix(f"results/{name}/"), job)
            elif path == evaluation:
                sizes[path] = _rows(pixels, config.images(dataset), chunk)
            elif path == training:
                sizes[path] = _rows(pixels, config.images(dataset, "training"), chunk)
            elif path == masks:
                sizes[path] = _rows(mask_columns(size), config.images(dataset), share=SHARES)
    return sizes


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
    if job and (declared := pass_of(job[0])):
        settings = settings_of((*declared.settings, *declared.plugins), config, job[1])
        rows: dict[str, Column] = load(declared.code).columns(model, **settings)
        if not path.startswith("faithfulness/"):
            return _rows(rows, images)
        steps = next(iter(rows.values())).shape[1]
        return 0.0 if path.endswith(".csv") else _rows(share_columns(steps), images, share=SHARES)
    match path.split("/"):
        case ["layers", _]:
            columns = layer_columns(tokens, classes, key_counts(model))
            return _rows(columns, images, chunk_rows_of(columns))
        case ["output.h5"]:
            return _rows(output_columns(classes), images)
        case ["weights.safetensors"]:
            return float(sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()))
        case ["token_labels.h5"]:
            return _rows(label_columns(patches), images)
        case ["memories", "attn" | "mlp", _]:
            return _rows(agreement_columns(tokens), images)
        case ["memories", "parameters.h5"]:
            per_class, per_memory = FLOAT + 2 * TOP, (FLOAT + 2) * min(TOP, classes)
            memories = sum(key_counts(model)[branch] for branch in BRANCHES)
            of_block = len(BRANCHES) * (classes * per_class + 4 * PER_DATA_SET) + memories * per_memory
            return PER_FILE + depth * of_block
        case ["explanation", _]:
            return _rows({"importance": Column((patches,), np.float32, "")}, images)
        case ["randomisation", _]:
            some = randomised_images(config, {"model": name})["images"]
            return PER_FILE + len(some) * FLOAT * patches * (len(cascade(depth)) + 1)
        case ["probes", *_]:
            columns = probe_columns(tokens, classes, "", everywhere=config.probes["tokens"] is None)
            return _rows(columns, images) + PER_DATA_SET  # with the accuracy of tokens
        case ["tuned_lens", _]:
            return _rows(seen_columns(tokens, classes), images) + FLOAT * (width * width + width)
        case ["words", file] if file.endswith(".h5"):
            return FLOAT * width * (depth * min(width, MOST_AXES * facts["heads"]) + classes)
    return 0.0


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
