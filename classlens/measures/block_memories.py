"""Do tokens call up the memories of their class: agreement of a branch's keys and values, image by image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from classlens.arrays import Array
from classlens.batching import batches
from classlens.h5 import h5py
from classlens.hdf5 import CHUNK_ROWS, Column, RowWriter, describe
from classlens.measures.memory_parameters import DESCRIPTIONS, Memories, read_memories
from classlens.terms import BRANCHES

DISTILLATION_TOKEN = 1
"""The token that a distilled model's second head serves."""

TEXTS = {
    "agreement": "a memory key of the token is among the strongest memories of the image's class",
    "agreement_random": "the same for a class drawn at random for the image",
    "composition": "the branch's strongest class is among the top classes of the token's memory keys",
}


def block_memories(
    layer: Path | str, output: Path | str, parameters: Path | str, attn: Path | str, mlp: Path | str, *, seed: int
) -> None:
    """Compare the memory keys of every token with the memories of classes, in the branches of one block.

    Args:
        layer: the block's layer file.
        output: the model's output file, for the images' classes.
        parameters: the model's projected memories, see `classlens.measures.memory_parameters`.
        attn, mlp: the HDF5 files to write, of each branch: `agreement`, `agreement_random`, `composition` (N, T) bool,
            `class_value` (C).
        seed: of the random classes, see `random_classes`. They are the same in all branches and blocks.
    """
    for branch, memories in zip(BRANCHES, (attn, mlp), strict=True):
        with h5py.File(layer, "r") as file, h5py.File(output, "r") as model:
            classes = model["class_index"][:]
            projected = read_memories(parameters, branch, int(file.attrs["block"]))
            drawn = random_classes(len(classes), int(file.attrs["num_classes"]), seed)
            keys, top = file[f"keys/{branch}"], file[f"{branch}/top5"]
            columns = agreement_columns(keys.shape[1])
            facts = {**file.attrs, "branch": branch, "memories": len(projected["head"].top_classes)}
            with RowWriter(memories, len(classes), columns, facts) as writer:
                for part in batches(len(classes), 8 * CHUNK_ROWS):
                    writer.append(compare(keys[part], top[part, :, 0], classes[part], drawn[part], projected))
        with h5py.File(memories, "r+") as file:
            dataset = file.create_dataset("class_value", data=projected["head"].class_value)
            describe(dataset, *DESCRIPTIONS["class_value"])


def agreement_columns(tokens: int) -> dict[str, Column]:
    """Return the data sets with a row per image of a file of `block_memories`."""
    return {name: Column((tokens,), np.bool_, text) for name, text in TEXTS.items()}


def random_classes(images: int, num_classes: int, seed: int) -> Array:
    """Draw a class for each image, uniformly from all classes of the model: (images).

    An image's own class is not left out: the control asks what agreement any class reaches.
    """
    return np.random.default_rng(seed).integers(num_classes, size=images)


def compare(keys: Array, top: Array, classes: Array, drawn: Array, memories: dict[str, Memories]) -> dict[str, Array]:
    """Compare a batch of images.

    Args:
        keys: (n, T, K), memory keys.
        top: (n, T), the branch's own strongest class at each token.
        classes, drawn: (n), the correct class of each image and a random one.
        memories: by head; the second head of a distilled model takes the distillation token.

    Returns:
        `agreement`, `agreement_random`, `composition`: (n, T) bool each.
    """
    result = _compare(keys, top, classes, drawn, memories["head"])
    if "head_dist" in memories:
        token = slice(DISTILLATION_TOKEN, DISTILLATION_TOKEN + 1)
        second = _compare(keys[:, token], top[:, token], classes, drawn, memories["head_dist"])
        for name, values in second.items():
            result[name][:, token] = values
    return result


def _compare(keys: Array, top: Array, classes: Array, drawn: Array, memories: Memories) -> dict[str, Array]:
    return {
        "agreement": share_any(keys, memories.strongest[classes][:, None]),
        "agreement_random": share_any(keys, memories.strongest[drawn][:, None]),
        "composition": share_any(memories.top_classes[:, 0][keys], top[..., None]),
    }


def share_any(left: Array, right: Array) -> Array:
    """Tell where two lists have an entry in common: (..., K) and (..., L) to (...) bool."""
    result = np.zeros(np.broadcast_shapes(left.shape[:-1], right.shape[:-1]), np.bool_)
    # Over the few entries of a list; a reduction over short last axes is many times slower.
    for i in range(left.shape[-1]):
        for j in range(right.shape[-1]):
            result |= left[..., i] == right[..., j]
    return result
