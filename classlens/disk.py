"""What results take on disk: the files that `all` makes of a config, by the columns that their jobs declare.

Counted are files with a row per image or training image, weights, and projected memories; tables, figures and pages,
whose size hardly follows from the config, are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from classlens.attribution.write import attribution_columns
from classlens.catalog import files
from classlens.catalog.analyses import ANALYSES
from classlens.catalog.job import MASKS, Files
from classlens.catalog.plan import wanted_pages
from classlens.catalog.settings import randomised_images
from classlens.causes.heads import head_columns
from classlens.causes.sets import set_names
from classlens.causes.tokens import token_columns
from classlens.config import Config
from classlens.data.labels import label_columns
from classlens.data.pixels import mask_columns, pixel_chunk_rows, pixel_columns
from classlens.explanations.methods import METHODS
from classlens.explanations.randomisation import cascade
from classlens.explanations.write import explanation_columns
from classlens.extraction.files import layer_columns, output_columns
from classlens.faithfulness.joined import share_columns
from classlens.faithfulness.steps import PIXEL_PERCENT, removal_counts
from classlens.hdf5 import CHUNK_ROWS, Column, chunk_rows_of
from classlens.inference.activations import key_counts
from classlens.memories.agreement import agreement_columns
from classlens.models.architecture import built_as
from classlens.models.build import build
from classlens.perturbation.attention import attention_columns
from classlens.perturbation.removal import removal_columns
from classlens.probes.files import probe_columns
from classlens.terms import BRANCHES, TOP
from classlens.tuned_lens.look import seen_columns

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
    paths = wanted_files(config)
    sizes = dict.fromkeys(paths, 0.0)
    for name in config.models:
        model = build(*built_as(config, name), device="meta")
        for path in paths:
            if path.startswith(f"results/{name}/"):
                sizes[path] = _of_model(config, name, model, path.removeprefix(f"results/{name}/"))
            elif path in (files.EVALUATION(config, {"model": name}), files.TRAINING(config, {"model": name})):
                sizes[path] = _pixels(config, name, path)
            elif path == files.PIXEL_MASKS(config, {"model": name}):
                masks = mask_columns(config.geometry(name).size)
                sizes[path] = _rows(masks, config.images(config.models[name]["dataset"]), share=SHARES)
    return sizes


def wanted_files(config: Config) -> set[str]:
    """Return the files that `all` needs, but for its tables and figures: what analyses and pages read, and so on."""
    wanted: set[str] = set()
    for analysis in ANALYSES.values():
        runs = config.runs(analysis.group)
        for name in {*runs, *(filter(None, map(config.twin, runs)) if analysis.twins else ())}:
            read = (*analysis.inputs.values(), *(analysis.figure.inputs.values() if analysis.figure else ()))
            wanted.update(_paths(config, name, read))
    for name in wanted_pages(config):
        page = (files.LAYERS, files.OUTPUT, files.EVALUATION, files.token_labels, files.explanations)
        wanted.update(_paths(config, name, (*page, files.shown_tuned_lens)))
    queue = list(wanted)
    while queue:
        more = set(_upstream(config, queue.pop())) - wanted
        wanted |= more
        queue += more
    return wanted


READ: tuple[tuple[str, tuple[Files, ...]], ...] = (
    (r"measures/identifiability\.h5", (files.LAYERS, files.OUTPUT)),
    (r"measures/segmentation_scores", (files.PIXEL_MASKS, files.of_methods("explanation", "h5"))),
    (r"memories/(attn|mlp)/", (files.LAYERS, files.OUTPUT, files.MEMORY_PARAMETERS)),
    (r"causes/heads\.h5", (files.ATTRIBUTION,)),
    (r"causes/tokens\.h5", (files.LAYERS, files.token_labels)),
    (r"perturbation/tokens_", (files.TOKEN_LABELS,)),
    (r"token_labels\.h5", (files.PIXEL_MASKS,)),
    (r"explanation/probe\.h5", (files.RESIDUAL_PROBES,)),
    (r"(probes|tuned_lens)/", (files.TRAINING,)),
    (r"layers/", (files.OUTPUT,)),
)
"""What files of a model are made from beside its weights and evaluation images."""


def _upstream(config: Config, path: str) -> Iterator[str]:
    name = path.removeprefix("results/").partition("/")[0]
    if name not in config.models:
        return
    own = path.removeprefix(f"results/{name}/")
    yield from _paths(config, name, (files.WEIGHTS, files.EVALUATION, *((files.TRAINING,) * config.trained(name))))
    for pattern, read in READ:
        if re.match(pattern, own):
            yield from _paths(config, name, read)
    if found := re.match(r"faithfulness/(\w+?)(_pixels)?\.(h5|csv)", own):
        yield path.removesuffix(".csv").removesuffix(".h5") + ".h5"
        yield from files.importance(config, {"model": name, "method": found[1]})


def _paths(config: Config, name: str, read: Iterable[Files]) -> Iterator[str]:
    for one in read:
        found = one(config, {"model": name}) if callable(one) else one.format(model=name)
        yield from [found] if isinstance(found, str) else found


def _pixels(config: Config, name: str, path: str) -> float:
    dataset, size = config.models[name]["dataset"], config.geometry(name).size
    split = path.rpartition("/")[2].removesuffix(".h5")
    columns = pixel_columns(size, config.classes(dataset))
    return _rows(columns, config.images(dataset, split), pixel_chunk_rows(size))


def _of_model(config: Config, name: str, model: Any, path: str) -> float:
    """Return the bytes of a file of a model; 0 of one that is not counted.

    Args:
        config: the config.
        name: of the model.
        model: itself, without values.
        path: below the model's folder.
    """
    facts, images = config.architecture(name), config.images(config.models[name]["dataset"])
    tokens, classes, depth, width = facts["tokens"], facts["num_classes"], facts["depth"], facts["width"]
    patches = tokens - facts["num_prefix_tokens"]
    stem = path.rpartition("/")[2].rpartition(".")[0]
    sets = len(set_names(has_labels=config.has(name, MASKS)))
    steps = len(config.removal_counts(name) or removal_counts(patches))

    def layers() -> float:
        columns = layer_columns(tokens, classes, key_counts(model))
        return _rows(columns, images, chunk_rows_of(columns))

    def tuned_lens() -> float:
        return _rows(seen_columns(tokens, classes), images) + FLOAT * (width * width + width)

    def explanation() -> float:
        return _rows(explanation_columns(model, "", "" if METHODS[stem].has_maps else None), images)

    def curves() -> float:
        columns = share_columns(len(PIXEL_PERCENT) if stem.endswith("_pixels") else steps)
        return _rows(columns, images, share=SHARES)

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
        r"perturbation/attention": lambda: _rows(attention_columns(tokens, classes, ""), images),
        r"perturbation/tokens": lambda: _rows(removal_columns(tokens, patches, ""), images),
        r"attribution/": lambda: _rows(attribution_columns(model), images),
        r"causes/heads": lambda: _rows(head_columns(depth, facts["heads"]), images),
        r"causes/tokens": lambda: _rows(token_columns(depth, sets), images),
        r"explanation/": explanation,
        r"faithfulness/.*\.h5": curves,
        r"randomisation/": randomised,
        r"probes/": probes,
        r"tuned_lens/": tuned_lens,
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
