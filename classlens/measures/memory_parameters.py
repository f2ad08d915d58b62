"""The memories of a model in class embedding space: what the weights alone say about them.

A branch writes to the residual stream through its last linear layer; each column of that layer's weight is a memory
(value), scaled by its key coefficient. The projection of memory m onto class c is W[c] . v_m (docs/method.md).
Everything that later jobs need of all these numbers is small, and is kept in one file per model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from classlens.arrays import Array
from classlens.h5 import h5py
from classlens.hdf5 import describe, index_dtype
from classlens.terms import BRANCHES, block_name

OUTPUT_LAYERS = {"attn": "attn.proj.weight", "mlp": "mlp.fc2.weight"}
LAYER_SCALES = {"attn": ("ls1.gamma", "gamma_1"), "mlp": ("ls2.gamma", "gamma_2")}
"""What timm's families call a branch's LayerScale."""
HEADS = ("head", "head_dist")
"""Distilled models have two heads, see `classlens.inference.projection`."""
STRONGEST = 5
"""Memories kept per class, and classes kept per memory."""

DESCRIPTIONS = {
    "class_value": ("largest cosine of a class's head row with any memory", "cosine"),
    "strongest": ("memories with the largest product with each class's head row, largest first", "memory index"),
    "top_classes": ("classes whose head rows have the largest product with each memory, largest first", "class index"),
    "top_scores": ("products of each memory with the head rows of its top classes", "logit"),
}


@dataclass(frozen=True)
class Memories:
    """One branch's memories, seen by one head. C classes, M memories."""

    class_value: Array
    """(C) float32, score(c) of docs/method.md."""
    strongest: Array
    """(C, min(5, M)), memory indices."""
    top_classes: Array
    """(M, min(5, C)), class indices."""
    top_scores: Array
    """(M, min(5, C)) float32."""


def write_parameters(weights: Path | str, parameters: Path | str) -> None:
    """Project all memories of a model onto its classes.

    Args:
        weights: canonical weights (see `classlens.models.weights`) of a supported model.
        parameters: the HDF5 file to write. For every branch, block and head a group
            `{branch}/block_{b:02d}/{head}` with the data sets of `Memories`. The head is `head`; a distilled model has
            a second one, `head_dist`, which serves its distillation token.
    """
    with safe_open(weights, framework="numpy") as tensors, h5py.File(parameters, "w") as file:
        names = set(tensors.keys())
        heads = {name: _of_token(tensors, name) for name in HEADS if f"{name}.weight" in names}
        blocks = 1 + max(int(name.split(".")[1]) for name in names if name.startswith("blocks."))
        file.attrs.update(blocks=blocks, num_classes=len(heads["head"]), width=heads["head"].shape[1])
        for branch, block in product(BRANCHES, range(blocks)):
            values = memory_values(tensors, branch, block)
            for name, head in heads.items():
                _write(file.create_group(_group(branch, block, name)), project(head, values))


def _of_token(tensors: Any, head: str) -> Array:
    """Return the rows (C, D) of a head; one on [CLS ; mean] sees a token alone at both places, so its halves add."""
    weight: Array = tensors.get_tensor(f"{head}.weight")
    width = tensors.get_slice(f"blocks.0.{OUTPUT_LAYERS['attn']}").get_shape()[0]
    return weight if weight.shape[1] == width else weight[:, :width] + weight[:, width:]


def memory_values(tensors: Any, branch: str, block: int) -> Array:
    """Return a branch's memories (D, M), as they reach the residual stream.

    That is times LayerScale; a norm after the branch is left out, because it does not act memory by memory.

    Args:
        tensors: an open canonical file. It names tensors as timm's modules do, so a name that is not there is a part
            that the block lacks.
        branch: `attn` or `mlp`.
        block: from 0.
    """
    values: Array = tensors.get_tensor(f"blocks.{block}.{OUTPUT_LAYERS[branch]}")
    for name in {f"blocks.{block}.{scale}" for scale in LAYER_SCALES[branch]} & set(tensors.keys()):
        values = values * tensors.get_tensor(name)[:, None]
    return values


def project(head: Array, values: Array) -> Memories:
    """Project memories onto classes.

    A vector of length zero points nowhere: its cosine is 0.

    Args:
        head: (C, D), the head's weight. The bias tells nothing about memories and is left out.
        values: (D, M), a memory in each column.
    """
    products = head @ values
    cosines = products / _length(head, 1)
    cosines /= _length(values, 0)
    of_memories = np.ascontiguousarray(products.T)
    top = largest_of_rows(of_memories, STRONGEST)
    return Memories(
        class_value=cosines.max(1),
        strongest=largest_of_rows(products, STRONGEST),
        top_classes=top,
        top_scores=np.take_along_axis(of_memories, top, axis=1),
    )


def largest_of_rows(scores: Array, count: int) -> Array:
    """Return the indices of the largest scores of each row, largest first: (n, M) to (n, min(count, M))."""
    count = min(count, scores.shape[1])
    # A partition finds the few largest in one pass; only those are sorted.
    found = np.argpartition(scores, scores.shape[1] - count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    result: Array = np.take_along_axis(found, order, axis=1)
    return result


def read_memories(path: Path | str, branch: str, block: int) -> dict[str, Memories]:
    """Read one branch of one block: by head, what `write_parameters` wrote."""
    with h5py.File(path, "r") as file:
        group = file[f"{branch}/{block_name(block)}"]
        return {
            head: Memories(**{name: group[head][name][:] for name in DESCRIPTIONS}) for head in HEADS if head in group
        }


@dataclass(frozen=True)
class ClassValues:
    """Class-value agreement of all branches and blocks of a model."""

    scores: dict[str, Array]
    """By branch, (B, C)."""
    memories: dict[str, Sequence[int]]
    """By branch, M of each block."""
    width: int
    """D."""


def read_class_values(path: Path | str) -> ClassValues:
    """Read the scores of a model's head from what `write_parameters` wrote."""
    with h5py.File(path, "r") as file:
        blocks = range(int(file.attrs["blocks"]))
        groups = {branch: [file[_group(branch, block, "head")] for block in blocks] for branch in BRANCHES}
        return ClassValues(
            scores={branch: np.stack([group["class_value"][:] for group in groups[branch]]) for branch in BRANCHES},
            memories={branch: [len(group["top_classes"]) for group in groups[branch]] for branch in BRANCHES},
            width=int(file.attrs["width"]),
        )


def _group(branch: str, block: int, head: str) -> str:
    return f"{branch}/{block_name(block)}/{head}"


def _length(vectors: Array, axis: int) -> Array:
    length = np.linalg.norm(vectors, axis=axis, keepdims=True)
    return np.where(length > 0, length, 1).astype(vectors.dtype)


def _write(group: h5py.Group, memories: Memories) -> None:
    classes, count = len(memories.class_value), len(memories.top_classes)
    types = {"strongest": index_dtype(count), "top_classes": index_dtype(classes)}
    for name, (description, unit) in DESCRIPTIONS.items():
        values = getattr(memories, name).astype(types.get(name, np.float32))
        dataset = group.create_dataset(name, data=values, compression="gzip", compression_opts=1, shuffle=True)
        describe(dataset, description, unit)
